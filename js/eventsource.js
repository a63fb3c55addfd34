// The EventSource interface of the HTML Standard, section 9.2.2, in Web IDL:
//
//   [Exposed=(Window,Worker)]
//   interface EventSource : EventTarget {
//     constructor(USVString url, optional EventSourceInit eventSourceInitDict = {});
//     readonly attribute USVString url;
//     readonly attribute boolean withCredentials;
//     const unsigned short CONNECTING = 0; const unsigned short OPEN = 1; const unsigned short CLOSED = 2;
//     readonly attribute unsigned short readyState;
//     attribute EventHandler onopen; attribute EventHandler onmessage; attribute EventHandler onerror;
//     undefined close();
//   };
//
// with the members of the proposal whatwg/html#12272:
//
//     static EventSource fromReadableStream(ReadableStream stream);
//     readonly attribute DOMString lastEventId;
//     readonly attribute unsigned long long reconnectionTime;
//     undefined reset();

import { Body } from './body.js';
import { Connection } from './connection.js';
import { Delivery } from './delivery.js';
import { convertInit } from './init.js';
import { canBeRemote, RemoteConnection } from './remote.js';
import { CLOSED, CONNECTING, OPEN } from './source.js';
import { documentIsThere } from './unload.js';

class EventSource extends EventTarget {
  #connection;
  /** The event handlers' values and listeners, by event type. @type {Map<string, { value: object, listener: Function }>} */
  #handlers = new Map();

  constructor(url, eventSourceInitDict = {}) {
    if (url === STREAM) {
      super();
      this.#connection = connect(this, { ...convertInit(), url: 'about:event-stream', stream: eventSourceInitDict, once: true });
      return;
    }
    if (arguments.length === 0) {
      throw new TypeError("Failed to construct 'EventSource': 1 argument required, but only 0 present.");
    }
    if (typeof url === 'symbol') throw new TypeError("Failed to construct 'EventSource': Cannot convert a Symbol value to a string");
    const string = `${url}`; // Web IDL converts both arguments before the constructor's steps run
    const init = convertInit(eventSourceInitDict);
    super();
    this.#connection = connect(this, { url: parseURL(string), ...init }, (connection) => (this.#connection = connection));
  }

  get url() {
    return EventSource.#connectionOf(this).source.url;
  }

  get withCredentials() {
    return EventSource.#connectionOf(this).source.withCredentials;
  }

  get readyState() {
    const connection = EventSource.#connectionOf(this);
    documentIsThere();
    return connection.readyState;
  }

  get onopen() {
    return EventSource.#handler(this, 'open');
  }

  set onopen(value) {
    EventSource.#setHandler(this, 'open', value);
  }

  get onmessage() {
    return EventSource.#handler(this, 'message');
  }

  set onmessage(value) {
    EventSource.#setHandler(this, 'message', value);
  }

  get onerror() {
    return EventSource.#handler(this, 'error');
  }

  set onerror(value) {
    EventSource.#setHandler(this, 'error', value);
  }

  close() {
    EventSource.#connectionOf(this).close();
  }

  get lastEventId() {
    return EventSource.#connectionOf(this).lastEventId;
  }

  get reconnectionTime() {
    return EventSource.#connectionOf(this).reconnectionTime;
  }

  reset() {
    EventSource.#connectionOf(this).reset();
  }

  [Symbol.asyncIterator]() {
    return EventSource.#connectionOf(this).iterate(() => this.#connection.close()); // the connection may be replaced
  }

  static fromReadableStream(stream) {
    const fail = (text) => new TypeError(`Failed to execute 'fromReadableStream' on 'EventSource': ${text}`);
    if (arguments.length === 0) throw fail('1 argument required, but only 0 present.');
    let locked;
    try {
      locked = isLocked(stream);
    } catch {
      throw fail("parameter 1 is not of type 'ReadableStream'.");
    }
    if (locked) throw fail('The stream is locked.');
    return new EventSource(STREAM, new Body(stream, { ahead: false }));
  }

  static #connectionOf(receiver) {
    if (receiver === null || typeof receiver !== 'object' || !(#connection in receiver)) {
      throw new TypeError('Illegal invocation');
    }
    return receiver.#connection;
  }

  static #handler(receiver, type) {
    EventSource.#connectionOf(receiver);
    return receiver.#handlers.get(type)?.value ?? null;
  }

  /**
   * The HTML Standard, section 8.1.8.1 "Event handlers". A handler becomes a listener when it is first set. Replacing it
   * keeps its place among the listeners; null removes it. Any object can be set and read, but only functions are called:
   * EventHandler is [LegacyTreatNonObjectAsNull].
   */
  static #setHandler(receiver, type, value) {
    EventSource.#connectionOf(receiver);
    const handlers = receiver.#handlers;
    const handler = handlers.get(type);
    if (value === null || (typeof value !== 'object' && typeof value !== 'function')) {
      if (handler) removeEventListener(receiver, type, handler.listener);
      handlers.delete(type);
    } else if (handler) {
      handler.value = value;
    } else {
      const created = {
        value,
        listener(event) {
          if (typeof created.value === 'function') Reflect.apply(created.value, this, [event]);
        },
      };
      handlers.set(type, created);
      addEventListener(receiver, type, created.listener);
    }
  }
}

function connect(target, source, replace) {
  const delivery = new Delivery(target, source);
  return canBeRemote(source) ? new RemoteConnection(delivery, source, replace) : new Connection(delivery, source);
}

/** Passed as the URL if the second argument is a Body. */
const STREAM = Symbol();

const isLocked = (stream) => Reflect.get(ReadableStream.prototype, 'locked', stream);
const addEventListener = Function.prototype.call.bind(EventTarget.prototype.addEventListener);
const removeEventListener = Function.prototype.call.bind(EventTarget.prototype.removeEventListener);

/**
 * "Let urlRecord be the result of encoding-parsing a URL given url, relative to settings. If urlRecord is failure, then
 * throw a 'SyntaxError' DOMException." In a document this uses its base URL and encoding. An anchor element applies both;
 * the URL constructor does not.
 */
function parseURL(url) {
  try {
    const { document, location } = globalThis;
    const parsed = document ? Object.assign(document.createElement('a'), { href: url }) : new URL(url, location?.href);
    const { protocol, hostname, origin, href } = parsed;
    // "If asciiDomain contains a forbidden domain code point, domain-invalid-code-point validation error, return failure."
    // Chromium accepts a space. It is valid in a host that is not a domain, and such a URL has no origin.
    if (protocol !== ':' && !(hostname.includes('%20') && origin !== 'null')) return href;
  } catch {
    // throw the DOMException
  }
  throw new DOMException(`Failed to construct 'EventSource': Cannot open an EventSource to '${url}'. The URL is invalid.`, 'SyntaxError');
}

// Defines the members in the order and with the attributes of Web IDL. In a class the constructor comes first, the members
// are not enumerable, and a minifier may change the name.
function defineAsWebIDL(constructor) {
  const { prototype } = constructor;
  const members = Object.getOwnPropertyDescriptors(prototype);
  for (const name of Object.keys(members)) delete prototype[name];
  const define = (name) => Object.defineProperty(prototype, name, { ...members[name], enumerable: true });

  for (const name of ['url', 'withCredentials', 'readyState', 'onopen', 'onmessage', 'onerror']) define(name);
  for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSED })) {
    Object.defineProperty(constructor, name, { value, enumerable: true });
    Object.defineProperty(prototype, name, { value, enumerable: true });
  }
  for (const name of ['close', 'lastEventId', 'reconnectionTime', 'reset']) define(name);
  const { fromReadableStream: value } = constructor;
  delete constructor.fromReadableStream; // defined again below, after the constants
  Object.defineProperty(constructor, 'fromReadableStream', { value, writable: true, enumerable: true, configurable: true });
  Object.defineProperty(prototype, 'constructor', { ...members.constructor, value: constructor });
  Object.defineProperty(prototype, Symbol.toStringTag, { value: 'EventSource', configurable: true });
  Object.defineProperty(constructor, 'name', { value: 'EventSource', configurable: true });
}

/** @type {(string | symbol)[]} */
const FUNCTION_PROPERTIES = ['length', 'name', 'prototype'];

// A class differs from a native interface: called without new it throws another message, its toString() returns its source,
// and Firefox orders its properties differently. This proxy hides the differences.
const Exposed = new Proxy(EventSource, {
  ownKeys(target) {
    const keys = Reflect.ownKeys(target);
    return [...FUNCTION_PROPERTIES.filter((key) => keys.includes(key)), ...keys.filter((key) => !FUNCTION_PROPERTIES.includes(key))];
  },
  apply() {
    throw new TypeError(
      "Failed to construct 'EventSource': Please use the 'new' operator, this DOM object constructor cannot be called as a function.",
    );
  },
});

export { Exposed as EventSource };

defineAsWebIDL(Exposed);
