// The engine is the Go program of wasm/polyfill. One instance serves all EventSource objects of a realm. It is loaded
// when the first of them is constructed, and again if it could not be loaded or has ended.

import defineGo from 'wasm_exec.js';
import { queueTask } from './task.js';

/** BUILD is what the build put into this script and into the module that belongs to it. */
const BUILD = __BUILD__;

/** How long to wait until the module is asked for again, in milliseconds. */
export const ENGINE_RETRY = 3000;

/** How many bytes the engine parses in one call, at most: they are copied. */
export const LARGEST_PART = 64 * 1024;

let defaultURL = () => {
  throw new Error('set EVENTSOURCE_WASM_URL to where eventsource.wasm is');
};

/**
 * Sets where the module is, as a function, since a page can set EVENTSOURCE_WASM_URL after this script has run.
 * @param {() => string} url
 */
export function setDefaultURL(url) {
  defaultURL = url;
}

/** @returns {string} where the module is */
export function moduleURL() {
  return String(globalThis.EVENTSOURCE_WASM_URL ?? defaultURL());
}

/** What is parsed when nobody is there to do it. */
const NOTHING = { text: '', table: [-1], failed: false };

/** What the lifecycle does without a policy. */
const THE_STANDARDS = { statuses: [], initial: 0, max: 0, factor: 1, jitter: 0, resetAfter: 0 };

/** The connections that the engine knows, by number. @type {Map<number, import('./connection.js').Connection>} */
const connections = new Map();
let lastId = 0;

/** @type {Promise<Engine> | undefined} */
let loading;
let reported = '';

/**
 * Returns the engine, loading it if need be. Rejects, once the reason is on the console, if it cannot be had now.
 * @returns {Promise<Engine>}
 */
export function loadEngine() {
  loading ??= start().then(
    (engine) => {
      reported = '';
      return engine;
    },
    (error) => {
      loading = undefined;
      report(error);
      throw error;
    },
  );
  return loading;
}

/** One line for each reason, however often it is met. */
function report(error) {
  const text = `eventsource-wasm: ${error.message}`;
  if (text !== reported) console.error(text);
  reported = text;
}

class Engine {
  #go;
  #exports;
  #result;
  #ended = false;
  #input = { address: undefined, size: -1 };
  #current = { buffer: undefined, words: new Int32Array() };

  constructor(go, instance) {
    this.#go = go;
    this.#exports = instance.exports;
    this.#result = instance.exports.resultAddress();
  }

  /** Gives the connection a number and begins it. */
  connect(connection) {
    const id = ++lastId;
    connections.set(id, connection);
    connection.id = id;
    const { source, lastEventId } = connection;
    const lengths = this.#write(source.url, lastEventId);
    this.call('connect', id, ...lengths, source.maxEventSize);
    if (source.onComment) this.call('comments', id);
    const policy = source.once ? { ...(source.retry ?? THE_STANDARDS), attempts: 1 } : source.retry;
    if (policy) this.#retry(id, policy);
  }

  #retry(id, { statuses, initial, max, factor, jitter, attempts, resetAfter }) {
    const list = new Uint8Array(Uint16Array.from(statuses).buffer);
    this.#reserve(list.length).set(list);
    const [seed] = crypto.getRandomValues(new Int32Array(1));
    this.call('retry', id, list.length, initial, max, factor, jitter, Number.isFinite(attempts) ? attempts : 0, resetAfter, seed);
  }

  /** Hands the response to the connection's lifecycle, and where to reconnect to if it is not where it went. */
  respond(id, response, url) {
    const lengths = this.#write(response.headers.get('Content-Type') ?? '', url);
    this.call('respond', id, response.status, ...lengths, retryAfter(response.headers.get('Retry-After')));
  }

  /**
   * Calls an exported function, such as an input of the lifecycle, unless the program has ended: then nobody is there.
   * It ends when it panics, and then returns nothing that means anything, or when WebAssembly traps, and then throws.
   */
  call(name, ...numbers) {
    if (this.#ended) return undefined;
    try {
      const result = this.#exports[name](...numbers);
      if (!this.#go.exited) return result;
      this.#end('a panic, see above');
    } catch (error) {
      this.#end(this.#go.exited ? 'a panic, see above' : error.message);
    }
    return undefined;
  }

  /** Ends the connection's number. */
  release(id) {
    connections.delete(id);
    this.call('close', id);
  }

  /**
   * Parses the next bytes of the connection's stream, of which there are at most LARGEST_PART, and returns its events.
   * The table has a row of three for each, and behind them one number more.
   * @param {number} id
   * @param {Uint8Array} part
   */
  parse(id, part) {
    this.#reserve(part.length).set(part);
    const events = this.call('feed', id, part.length);
    if (events === undefined) return NOTHING;
    const failed = events < 0;
    const { words } = this.#views;
    const at = this.#result / 4;
    const length = words[at + 1];
    const table = words[at + 2] / 4;
    return {
      text: length === 0 ? '' : decoder.decode(new Uint8Array(this.#views.buffer, words[at], length)),
      // A copy: a listener may make the engine's memory grow, which detaches its views.
      table: words.slice(table, table + (failed ? -1 - events : events) * 3 + 1),
      failed,
    };
  }

  /** Writes two strings to the engine's input and returns their lengths in bytes. */
  #write(first, second) {
    const [a, b] = [encoder.encode(first), encoder.encode(second)];
    const input = this.#reserve(a.length + b.length);
    input.set(a);
    input.set(b, a.length);
    return [a.length, b.length];
  }

  /** Returns so many bytes of the engine's input, which stays where it is until it is asked for more. */
  #reserve(length) {
    if (length > this.#input.size || this.#input.size > LARGEST_PART) {
      this.#input = { address: this.call('reserve', length), size: length };
    }
    const { address } = this.#input;
    return address === undefined ? new Uint8Array(length) : new Uint8Array(this.#views.buffer, address, length);
  }

  /** The program has ended, which is a fault of it: whoever is connected connects anew and resumes. */
  #end(reason) {
    if (this.#ended) return;
    this.#ended = true;
    loading = undefined;
    const lost = [...connections.values()];
    connections.clear();
    report(new Error(`eventsource.wasm ended and is started again: ${reason}`));
    // In a task, because the program may have ended below a listener's call.
    for (const connection of lost) queueTask(() => connection.engineLost());
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

/** RFC 9110, section 10.2.3: a date or a number of seconds. Returns milliseconds, 0 for what is neither. */
function retryAfter(value) {
  if (value === null) return 0;
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Math.min(Math.max(milliseconds || 0, 0), Number.MAX_SAFE_INTEGER);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

async function start() {
  const url = moduleURL();
  const module = await compile(url);
  let build;
  const scope = goScope({
    ready: (value) => (build = value),
    // Without a result, to which Go would hold a reference.
    command(id, name, ...values) {
      connections.get(id)[name](...values);
    },
  });
  const go = new (defineGo(scope))();
  const instance = await WebAssembly.instantiate(module, go.importObject);
  go.run(instance);
  if (build !== BUILD) {
    throw new Error(`${url} is of another version than the script (${build}, not ${BUILD}): deploy both of one release`);
  }
  return new Engine(go, instance);
}

/** Compiles the module while it arrives, where the server gives it its MIME type. */
async function compile(url) {
  let response;
  try {
    // After a failure, what a cache holds may be what failed.
    response = await fetch(url, { credentials: 'same-origin', cache: reported ? 'reload' : 'default' });
  } catch {
    throw new Error(`${url} could not be loaded: check the address and, on another origin, its CORS headers`);
  }
  if (!response.ok) throw new Error(`${url} could not be loaded: the server answered ${response.status}`);
  const type = response.headers.get('Content-Type') ?? '';
  try {
    if (/^\s*application\/wasm\s*(;|$)/i.test(type)) return await WebAssembly.compileStreaming(response);
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    throw new Error(
      `${url} could not be compiled (Content-Type ${type || 'missing'}): ${error.message}. ` +
        `A Content-Security-Policy needs 'wasm-unsafe-eval' in script-src`,
    );
  }
}

/**
 * Go's support script and Go itself expect a global object. They get this one, so that no Go, fs, process or path
 * appears on the page's, and the program reaches nothing of the page but what the engine's functions do for it.
 */
function goScope(engine) {
  const { crypto, performance, TextEncoder, TextDecoder, Object, Array, Error, Uint8Array, Uint8ClampedArray } = globalThis;
  return { crypto, performance, TextEncoder, TextDecoder, Object, Array, Error, Uint8Array, Uint8ClampedArray, engine };
}
