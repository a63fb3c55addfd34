// The engine is the Go program of wasm/polyfill. One instance serves all EventSource objects of a realm. It is loaded
// when the first of them is constructed, and again if it could not be loaded or has ended.

import defineGo from 'wasm_exec.js';
import { queueTask } from './task.js';

/** BUILD is what the build put into this script and into the module that belongs to it. */
const BUILD = __BUILD__;

/** How long to wait until the module is asked for again, in milliseconds. */
export const ENGINE_RETRY = 3000;

let defaultURL = () => {
  throw new Error('the address of eventsource.wasm is unknown: set EVENTSOURCE_WASM_URL');
};

/**
 * Sets where the module is, as a function, since a page can set EVENTSOURCE_WASM_URL after this script has run.
 * @param {() => string} url
 */
export function setDefaultURL(url) {
  defaultURL = url;
}

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
  #input;
  #inputSize = 64 * 1024;
  #result;

  constructor(go, instance) {
    this.#go = go;
    this.#exports = instance.exports;
    this.#input = instance.exports.inputAddress();
    this.#result = instance.exports.resultAddress();
  }

  /** Gives the connection a number and begins it. */
  connect(connection) {
    const id = ++lastId;
    connections.set(id, connection);
    connection.id = id;
    this.call('connect', id);
  }

  /** Calls an exported function for an input of the lifecycle, unless the program has ended: then nobody is there. */
  call(input, id, ...values) {
    if (!this.#go.exited) this.#exports[input](id, ...values);
  }

  /** Ends the connection's number. */
  release(id) {
    connections.delete(id);
    this.call('close', id);
  }

  /**
   * Parses a chunk of the connection's stream and returns its events in batches.
   * @param {number} id
   * @param {Uint8Array} chunk
   */
  *parse(id, chunk) {
    for (let offset = 0; offset < chunk.length && !this.#go.exited; offset += this.#inputSize) {
      const part = chunk.subarray(offset, offset + this.#inputSize);
      new Uint8Array(this.#memory, this.#input, part.length).set(part);
      const events = this.#exports.feed(id, part.length);
      // A program that has just ended returned undefined.
      if (events > 0) yield this.#batch(events, false);
      else if (events < 0) yield this.#batch(-1 - events, true);
    }
  }

  #batch(events, failed) {
    if (events === 0) return { text: '', table: [], failed };
    const [output, length, table] = new Uint32Array(this.#memory, this.#result, 3);
    return {
      text: decoder.decode(new Uint8Array(this.#memory, output, length)),
      // A copy: a listener may make the engine's memory grow, which detaches its views.
      table: new Int32Array(this.#memory, table, events * 3).slice(),
      failed,
    };
  }

  // Read anew each time: a view is detached when the memory grows.
  get #memory() {
    return this.#exports.mem.buffer;
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

async function start() {
  const url = String(globalThis.EVENTSOURCE_WASM_URL ?? defaultURL());
  const module = await compile(url);
  let build;
  const scope = goScope({
    ready: (value) => (build = value),
    connection: (id) => connections.get(id),
  });
  const go = new (defineGo(scope))();
  const instance = await WebAssembly.instantiate(module, go.importObject);
  const ended = go.run(instance);
  if (build !== BUILD) {
    throw new Error(`${url} is of another version than the script (${build}, not ${BUILD}): deploy both files of one release`);
  }
  ended.then(() => restart());
  return new Engine(go, instance);
}

/** The program has ended, which is a fault of it: whoever was connected connects anew and resumes. */
function restart() {
  loading = undefined;
  const lost = [...connections.values()];
  connections.clear();
  report(new Error('eventsource.wasm ended unexpectedly and is started again'));
  // In a task, because the program may have ended below a listener's call.
  for (const connection of lost) queueTask(() => connection.engineLost());
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
        `A page with a Content-Security-Policy needs 'wasm-unsafe-eval' in script-src`,
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
