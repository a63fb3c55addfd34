// The engine is the Go program of wasm/polyfill. One instance serves all EventSource objects of a realm. It is loaded
// behind the first stream that is open, and takes over each source between two chunks. Until then, and if it cannot be
// had, js/lifecycle.js does its work.

import defineGo from 'wasm_exec.js';
import { CR } from './ascii.js';
import { Bytes } from './bytes.js';
import { BETWEEN_EVENTS } from './parser.js';
import { watchPolicy } from './request.js';
import { decode, encode } from './text.js';

/** BUILD is what the build put into this script and into the module that belongs to it. */
export const BUILD = __BUILD__;

/** How many bytes the engine parses in one call, at most: they are copied. */
export const LARGEST_PART = 64 * 1024;

/** The least of the engine's input that is asked for, in bytes. */
const SMALLEST_INPUT = 4096;

/** How much of an unfinished event is kept for the case that the engine ends, in bytes. */
const LARGEST_REST = 1024 * 1024;

/** How long the engine's loading waits for a page that is busy, in milliseconds. */
const LONGEST_BUSY = 2000;

let defaultURL;

/** @typedef {string | Uint8Array | null} Location where the module is, or its bytes, or null if it is never loaded */

/**
 * Sets where the module is, as a function, since a page can set EVENTSOURCE_WASM_URL after this script has run.
 * @param {() => Location | Promise<Location>} url
 */
export function setDefaultURL(url) {
  defaultURL = url;
}

/** @returns {Promise<Location>} */
export async function moduleURL() {
  const { EVENTSOURCE_WASM_URL: url = await defaultURL() } = globalThis;
  return ArrayBuffer.isView(url) ? /** @type {Uint8Array} */ (url) : url && absolute(url);
}

/** A bundler may put a path in the place of `new URL(…, import.meta.url)`. */
export const absolute = (url) => new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;

/** The sources that the engine has, by number. @type {Map<number, object>} */
const commands = new Map();
let lastId = 0;

/** @type {Engine | undefined} */
let engine;
/** @type {Promise<void> | undefined} */
let loading;

/** The engine, if it is ready. */
export const readyEngine = () => engine;

/**
 * Loads the engine unless that has been tried. Rejects with what the diagnostics tell, in one word as `reason`, once that is
 * on the console.
 * @returns {Promise<void>}
 */
export function loadEngine() {
  loading ??= idle().then(start).then(
    (started) => {
      engine = started;
    },
    (error) => {
      // The next source may have a network again, or an address. What else fails is going to fail again.
      if (error.reason === 'network' || error.reason === 'disabled') loading = undefined;
      report(error);
      throw error;
    },
  );
  return loading;
}

/** Waits until the page has nothing more urgent to do, as far as the browser tells. */
function idle() {
  /** @type {any} */
  const { requestIdleCallback = setTimeout } = globalThis;
  return new Promise((resolve) => requestIdleCallback(resolve, requestIdleCallback === setTimeout ? 0 : { timeout: LONGEST_BUSY }));
}

let reported = '';

/** One line for each reason, however often it is met. It is no error: all works without the engine. */
function report({ message, reason }) {
  const text = `eventsource-wasm runs without its module: ${message}`;
  if (text !== reported && reason !== 'disabled') console.info(text);
  reported = text;
}

const failure = (reason, message) => Object.assign(new Error(message), { reason });

class Engine {
  /** Whether the program has ended. */
  ended = false;
  #go;
  #exports;
  #result;
  #input = new Uint8Array();
  #current = { buffer: undefined, words: new Int32Array() };

  constructor(go, instance) {
    this.#go = go;
    this.#exports = instance.exports;
    this.#result = instance.exports.resultAddress();
  }

  /**
   * Takes over a source between two inputs.
   * @param {object} connection has the methods that are lifecycle's commands
   * @param {import('./lifecycle.js').Lifecycle} lifecycle
   */
  adopt(connection, { state, options, reconnectionTime }) {
    const id = ++lastId;
    const { parser, retry } = state;
    const strings = [state.url, parser.lastEventId, parser.id, parser.type, parser.data, parser.line].map(bytesOf);
    // In the order of wasm/polyfill/driver.go.
    const numbers = /** @type {any} */ (Float64Array).of(
      state.phase, state.wait, state.failures, options.maxEventSize, options.comments,
      parser.idChanged, parser.dataLines, parser.bom, parser.afterCR, parser.retry, parser.hasRetry,
      retry.initial, retry.max, retry.factor, retry.jitter, Number.isFinite(retry.attempts) ? retry.attempts : 0, retry.resetAfter, retry.needsId,
      retry.seed >>> 0, retry.statuses.length, ...strings.map(({ length }) => length),
    );
    this.#write(numbers, Uint16Array.from(retry.statuses), ...strings);
    commands.set(id, connection);
    this.call('adopt', id);
    return new GoSource(this, id, parser, reconnectionTime);
  }

  /** Hands the response to the source's lifecycle, and where to reconnect to if it is not where it went. */
  respond(id, status, contentType, url, retryAfter) {
    const [a, b] = [contentType, url].map(bytesOf);
    this.#write(a, b);
    this.call('respond', id, status, a.length, b.length, retryAfter);
  }

  /**
   * Calls an exported function, such as an input of the lifecycle, unless the program has ended: then nobody is there.
   * It ends when it panics, and then returns nothing that means anything, or when WebAssembly traps, and then throws.
   */
  call(name, ...numbers) {
    if (this.ended) return undefined;
    try {
      const result = this.#exports[name](...numbers);
      if (!this.#go.exited) return result;
    } catch (error) {
      if (!this.#go.exited) this.#end('trap', error.message);
    }
    if (this.#go.exited) this.#end('panic', 'a panic, see above');
    return undefined;
  }

  /** Ends the source's number. */
  close(id) {
    commands.delete(id);
    this.call('close', id);
  }

  /**
   * Parses the next bytes of the source's stream, of which there are at most LARGEST_PART, and returns its events.
   * The table has a row of three for each, and behind them one number more.
   * @param {number} id
   * @param {Uint8Array} part
   */
  parse(id, part) {
    this.#reserve(part.length).set(part);
    const events = this.call('feed', id, part.length);
    if (events === undefined) return undefined;
    const failed = events < 0;
    const { words, buffer } = this.#views;
    const at = this.#result / 4;
    const length = words[at + 1];
    const table = words[at + 2] / 4;
    return {
      text: length === 0 ? '' : decode(new Uint8Array(buffer, words[at], length)),
      // A copy: a listener may make the engine's memory grow, which detaches its views. An array costs less for one event.
      table: events === 1
        ? [words[table], words[table + 1], words[table + 2], words[table + 3]]
        : words.slice(table, table + (failed ? -1 - events : events) * 3 + 1),
      failed,
      rest: words[at + 3],
      reconnectionTime: (words[at + 4] >>> 0) + (words[at + 5] >>> 0) * 2 ** 32,
      hasRetry: words[at + 6] === 1,
    };
  }

  /** Writes the arrays to the engine's input, one after the other. */
  #write(...arrays) {
    const input = this.#reserve(arrays.reduce((sum, { byteLength }) => sum + byteLength, 0));
    let at = 0;
    for (const { buffer, byteOffset, byteLength } of arrays) {
      input.set(new Uint8Array(buffer, byteOffset, byteLength), at);
      at += byteLength;
    }
  }

  /**
   * Returns more than so many bytes of the engine's input. They stay where they are until more is asked for, or the memory
   * grows: then this view of them is detached, and empty.
   */
  #reserve(length) {
    if (length >= this.#input.length || this.#input.length > LARGEST_PART) {
      const size = Math.max(length + 1, SMALLEST_INPUT);
      const address = this.call('reserve', size);
      this.#input = address === undefined ? new Uint8Array(size) : new Uint8Array(this.#views.buffer, address, size);
    }
    return this.#input;
  }

  /** The program has ended, which is a fault of it. Each source goes on without it at its next input. */
  #end(reason, message) {
    if (this.ended) return;
    this.ended = true;
    if (engine === this) engine = undefined;
    commands.clear();
    const error = failure(reason, `it has ended: ${message}`);
    loading = Promise.reject(error);
    loading.catch(() => {});
    report(error);
  }

  /** The memory. Its views are detached when it grows, and made anew. */
  get #views() {
    if (this.#current.words.length === 0) {
      const { buffer } = this.#exports.mem;
      this.#current = { buffer, words: new Int32Array(buffer) };
    }
    return this.#current;
  }
}

/**
 * A source that the engine has. Its inputs are those of js/lifecycle.js, and return false if the engine has ended. It keeps
 * what that needs to go on then: the parser's state at the end of the last event, and the bytes since.
 */
class GoSource {
  reconnectionTime;
  #hasRetry;
  #failed = false;
  #engine;
  #id;
  /** Undefined if there are more bytes than are kept. */
  #state;
  #since = new Bytes();

  constructor(engine, id, parser, reconnectionTime) {
    this.#engine = engine;
    this.#id = id;
    this.#state = parser;
    this.#hasRetry = parser.hasRetry;
    this.reconnectionTime = reconnectionTime;
  }

  get lost() {
    return this.#engine.ended;
  }

  /** What another parser can go on with, but for the last event ID. */
  get remains() {
    const parser = this.#state && { ...this.#state, failed: this.#failed, hasRetry: this.#hasRetry, retry: this.reconnectionTime };
    return { parser, since: this.#since.copy() };
  }

  close() {
    this.#engine.close(this.#id);
  }

  input(name, ...values) {
    if (name === 'respond' || name === 'reset') this.#mark({ ...BETWEEN_EVENTS, bom: 0 }); // a stream begins
    if (name === 'respond') this.#engine.respond(this.#id, ...values);
    else this.#engine.call(name, this.#id, ...values);
    return this.lost ? false : undefined;
  }

  parse(part) {
    const batch = this.#engine.parse(this.#id, part);
    if (!batch) return false;
    this.reconnectionTime = batch.reconnectionTime;
    this.#hasRetry = batch.hasRetry;
    this.#failed = batch.failed;
    const start = part.length - batch.rest;
    if (start > 0) this.#mark(BETWEEN_EVENTS, part[start - 1] === CR);
    if (this.#since.size + batch.rest > LARGEST_REST) this.#mark(undefined);
    else if (this.#state && batch.rest > 0) this.#since.append(part, start, part.length);
    return batch;
  }

  #mark(state, afterCR = false) {
    this.#state = afterCR ? { ...state, afterCR } : state;
    if (this.#since.size > 0) this.#since.clear();
  }
}

const bytesOf = (value) => (typeof value === 'string' ? encode(value) : Uint8Array.from(value));

async function start() {
  let url;
  try {
    url = await moduleURL();
  } catch (error) {
    throw failure('network', error.message);
  }
  if (!url) throw failure('disabled');
  try {
    return await instantiate(url, 'default');
  } catch (error) {
    if (error.reason !== 'version' && error.reason !== 'compile') throw error;
    return await instantiate(url, 'reload'); // a cache may hold what does not belong to this script
  }
}

async function instantiate(url, cache) {
  const module = await compile(url, cache);
  let build;
  const scope = goScope({
    ready: (value) => (build = value),
    // Without a result, to which Go would hold a reference.
    command(id, name, ...values) {
      commands.get(id)[name](...values);
    },
  });
  const go = new (defineGo(scope))();
  const instance = await WebAssembly.instantiate(module, go.importObject);
  go.run(instance);
  if (build !== BUILD) {
    throw failure('version', `${url} is of another version than the script: deploy both`);
  }
  return new Engine(go, instance);
}

/** Compiles the module while it arrives, where the server gives it its MIME type. */
async function compile(url, cache) {
  // What is forbidden need not be loaded.
  try {
    new WebAssembly.Module(EMPTY_MODULE);
  } catch (error) {
    const help = /CSP|eval/.test(error.message) ? ". A Content-Security-Policy needs 'wasm-unsafe-eval' in script-src" : '';
    throw failure('unsupported', error.message + help);
  }
  if (typeof url !== 'string') return WebAssembly.compile(url);
  // From there neither browsers nor Node.js load anything.
  if (url.startsWith('file:')) throw failure('disabled');
  const policy = watchPolicy(url);
  let response;
  try {
    response = await fetch(url, { credentials: 'same-origin', cache, priority: 'low' });
  } catch {
    const help = (await policy.blocked()) ? 'the Content-Security-Policy needs it in connect-src' : 'check the address and CORS';
    throw failure('network', `${url} could not be loaded: ${help}`);
  } finally {
    policy.stop();
  }
  if (!response.ok) throw failure('status', `${url} could not be loaded: the server answered ${response.status}. ${HELP}`);
  const type = response.headers.get('Content-Type') ?? '';
  try {
    if (/^\s*application\/wasm\s*(;|$)/i.test(type)) return await WebAssembly.compileStreaming(response);
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    throw failure('compile', `${url} could not be compiled (Content-Type ${type}): ${error.message}. ${HELP}`);
  }
}

/** What mends a build that has left the module out. */
const HELP = 'Copy eventsource.wasm there, or import eventsource-wasm/inline';

const EMPTY_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

const GLOBALS = 'crypto performance TextEncoder TextDecoder Object Array Error Uint8Array Uint8ClampedArray';

/**
 * Go's support script and Go itself expect a global object. They get this one, so that no Go, fs, process or path
 * appears on the page's, and the program reaches nothing of the page but what the engine's functions do for it.
 */
function goScope(engine) {
  const scope = { engine };
  for (const name of GLOBALS.split(' ')) scope[name] = globalThis[name];
  return scope;
}
