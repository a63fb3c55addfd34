// The engine is the Go program in wasm/polyfill. One instance serves all EventSource objects of a realm. It loads after the
// first stream has opened and takes over each source between two chunks. Before that, and if it cannot load,
// js/lifecycle.js does the same work.

import defineGo from 'wasm_exec.js';
import { CR } from './ascii.js';
import { Bytes } from './bytes.js';
import { BETWEEN_EVENTS } from './parser.js';
import { watchPolicy } from './request.js';
import { decode, encode } from './text.js';

/** The build puts the same value into this script and its wasm module. */
export const BUILD = __BUILD__;

/** The maximum number of bytes that the engine parses in one call. They are copied into its memory. */
export const LARGEST_PART = 64 * 1024;

/** The minimum size of the engine's input buffer, in bytes. */
const SMALLEST_INPUT = 4096;

/** How many bytes of an unfinished event are kept in case the engine ends. */
const LARGEST_REST = 1024 * 1024;

/** How long a busy page can delay the loading of the engine, in milliseconds. */
const LONGEST_BUSY = 2000;

let defaultURL;

/** @typedef {string | Uint8Array | null} Location the URL of the module, its bytes, or null to never load it */

/**
 * Sets the default location of the module. It is a function because a page can set EVENTSOURCE_WASM_URL after this script
 * has run.
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

/** Resolves a URL. A bundler may replace `new URL(…, import.meta.url)` by a path. */
export const absolute = (url) => new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;

/** The connections that the engine runs, by number. @type {Map<number, object>} */
const commands = new Map();
let lastId = 0;

/** @type {Engine | undefined} */
let engine;
/** @type {Promise<void> | undefined} */
let loading;

/** The engine, if it is ready. */
export const readyEngine = () => engine;

/**
 * Loads the engine, once. If that fails, logs why, and rejects with an error whose `reason` is a word for the diagnostics.
 * @returns {Promise<void>}
 */
export function loadEngine() {
  loading ??= idle().then(start).then(
    (started) => {
      engine = started;
    },
    (error) => {
      // Only these failures may be temporary: the next source tries again.
      if (error.reason === 'network' || error.reason === 'disabled') loading = undefined;
      report(error);
      throw error;
    },
  );
  return loading;
}

/** Waits until the page is idle, where browsers support that. */
function idle() {
  /** @type {any} */
  const { requestIdleCallback = setTimeout } = globalThis;
  return new Promise((resolve) => requestIdleCallback(resolve, requestIdleCallback === setTimeout ? 0 : { timeout: LONGEST_BUSY }));
}

let reported = '';

/** Logs each message once. It is not an error, because everything works without the engine. */
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
   * @param {object} connection has the lifecycle's commands as methods
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

  /** Passes a response to the lifecycle. `url` is where to reconnect, or empty if that does not change. */
  respond(id, status, contentType, url, retryAfter) {
    const [a, b] = [contentType, url].map(bytesOf);
    this.#write(a, b);
    this.call('respond', id, status, a.length, b.length, retryAfter);
  }

  /**
   * Calls an exported function, such as an input of the lifecycle. Returns undefined if the program has ended. The program
   * ends when it panics, which returns a meaningless value, or when WebAssembly traps, which throws.
   */
  call(name, ...numbers) {
    if (this.ended) return undefined;
    try {
      const result = this.#exports[name](...numbers);
      if (!this.#go.exited) return result;
    } catch (error) {
      if (!this.#go.exited) this.#end('trap', error.message);
    }
    if (this.#go.exited) this.#end('panic', 'panic, see above');
    return undefined;
  }

  /** Releases a source. */
  close(id) {
    commands.delete(id);
    this.call('close', id);
  }

  /**
   * Parses the next bytes of a source's stream, at most LARGEST_PART, and returns their events. The table has three numbers
   * for each event, and one more at the end.
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

  /** Writes the arrays to the engine's input buffer, one after the other. */
  #write(...arrays) {
    const input = this.#reserve(arrays.reduce((sum, { byteLength }) => sum + byteLength, 0));
    let at = 0;
    for (const { buffer, byteOffset, byteLength } of arrays) {
      input.set(new Uint8Array(buffer, byteOffset, byteLength), at);
      at += byteLength;
    }
  }

  /**
   * Returns a view of the engine's input buffer that is larger than `length`. It stays valid until a larger one is requested, or
   * until the memory grows, which detaches the view and makes it empty.
   */
  #reserve(length) {
    if (length >= this.#input.length || this.#input.length > LARGEST_PART) {
      const size = Math.max(length + 1, SMALLEST_INPUT);
      const address = this.call('reserve', size);
      this.#input = address === undefined ? new Uint8Array(size) : new Uint8Array(this.#views.buffer, address, size);
    }
    return this.#input;
  }

  /** Handles a crash of the program. Each source continues without it at its next input. */
  #end(reason, message) {
    if (this.ended) return;
    this.ended = true;
    if (engine === this) engine = undefined;
    commands.clear();
    const error = failure(reason, `it crashed: ${message}`);
    loading = Promise.reject(error);
    loading.catch(() => {});
    report(error);
  }

  /** Views of the memory. Growing the memory detaches them, so they are created again. */
  get #views() {
    if (this.#current.words.length === 0) {
      const { buffer } = this.#exports.mem;
      this.#current = { buffer, words: new Int32Array(buffer) };
    }
    return this.#current;
  }
}

/**
 * A lifecycle that the engine runs. It has the inputs of js/lifecycle.js, and they return false if the engine has ended. For
 * that case it keeps the parser's state at the end of the last event, and the bytes since then.
 */
class GoSource {
  reconnectionTime;
  hasRetry;
  #failed = false;
  #engine;
  #id;
  /** Undefined if there are more than LARGEST_REST bytes. */
  #state;
  #since = new Bytes();

  constructor(engine, id, parser, reconnectionTime) {
    this.#engine = engine;
    this.#id = id;
    this.#state = parser;
    this.hasRetry = parser.hasRetry;
    this.reconnectionTime = reconnectionTime;
  }

  get lost() {
    return this.#engine.ended;
  }

  /** The state with which another parser can continue, except for the last event ID and the reconnection time. */
  get remains() {
    const parser = this.#state && { ...this.#state, failed: this.#failed };
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
    this.hasRetry = batch.hasRetry;
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
    return await instantiate(url, 'reload'); // a cache may hold the module of another version
  }
}

async function instantiate(url, cache) {
  const module = await compile(url, cache);
  let build;
  const scope = goScope({
    ready: (value) => (build = value),
    // Returns nothing: Go would keep a reference to the result.
    command(id, name, ...values) {
      commands.get(id)[name](...values);
    },
  });
  const go = new (defineGo(scope))();
  const instance = await WebAssembly.instantiate(module, go.importObject);
  go.run(instance).catch(() => {}); // rejects if the module is another program
  if (build !== BUILD) {
    throw failure('version', `${typeof url === 'string' ? url : 'it'} does not match this script: deploy both together`);
  }
  return new Engine(go, instance);
}

/** Compiles the module, while it downloads if the server sends it as application/wasm. */
async function compile(url, cache) {
  // Do not download a module that must not run.
  try {
    new WebAssembly.Module(EMPTY_MODULE);
  } catch (error) {
    const help = /CSP|eval/.test(error.message) ? ". A Content-Security-Policy needs 'wasm-unsafe-eval' in script-src" : '';
    throw failure('unsupported', error.message + help);
  }
  if (typeof url !== 'string') return WebAssembly.compile(url);
  // Neither browsers nor Node.js can fetch file: URLs.
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

/** The advice if a bundler did not copy the module. */
const HELP = 'Copy eventsource.wasm there, or import eventsource-wasm/inline';

const EMPTY_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

const GLOBALS = 'crypto performance TextEncoder TextDecoder Object Array Error Uint8Array Uint8ClampedArray';

/**
 * Returns the global object for Go and its support script. It keeps Go, fs, process and path off the page's global object,
 * and limits the program to the functions of `engine`.
 */
function goScope(engine) {
  const scope = { engine };
  for (const name of GLOBALS.split(' ')) scope[name] = globalThis[name];
  return scope;
}
