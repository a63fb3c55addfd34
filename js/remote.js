// The option `worker`: a connection in a worker that the page's sources share. It reads, parses and decodes there, and
// posts what a chunk held; the page makes the events.

import { Connection } from './connection.js';
import { absolute, moduleURL } from './engine.js';
import { CLOSED, CONNECTING, OPEN, Source } from './source.js';
import { tag } from './tag.js';
import { away, documentIsThere } from './unload.js';

/** How much of what a worker has posted is to be delivered until it is told, in UTF-16 code units. */
const TOLD_EVERY = 64 * 1024;

let workerURL;

/** Sets where the worker's script is. @param {() => string | null | Promise<string>} url */
export function setWorkerURL(url) {
  workerURL = url;
}

/** Those that the worker knows, by number. @type {Map<number, RemoteConnection>} */
const connections = new Map();
let lastId = 0;

/** @type {Worker | undefined} */
let worker;
/** @type {Promise<void> | undefined} */
let starting;

/** Whether there has been one that failed: then no source tries another. */
let failed = false;

/** Whether connections can be in a worker. Shared and service workers have no Worker in some browsers. */
export const canBeRemote = () => globalThis.Worker !== undefined && !failed;

function post(message, transfer) {
  worker?.postMessage(message, transfer);
}

/** @param {boolean | string | URL | object} given where the script is, if the page says so */
async function start(given) {
  const url = given === true ? await workerURL() : given;
  if (url === null) throw new Error('its address is unknown: set the option worker to it');
  worker = new Worker(tag(url) === 'TrustedScriptURL' ? url : ofThisOrigin(absolute(url)));
  worker.onmessage = ({ data }) => connections.get(data.id)?.receive(data);
  worker.onerror = (event) => {
    event.preventDefault();
    worker.terminate();
    fail(`${url}: ${event.message ?? 'it could not be loaded: check the address, worker-src, and its own Cross-Origin-Embedder-Policy'}`);
  };
}

/** A worker's script must be of the page's origin, and may import others. */
function ofThisOrigin(url) {
  const own = url.startsWith(`${origin}/`) || url.startsWith('blob:');
  return own ? url : URL.createObjectURL(new Blob([`importScripts(${JSON.stringify(url)})`]));
}

/** All goes on without a worker. */
function fail(message) {
  if (failed) return;
  console.info(`eventsource-wasm runs without its worker: ${message}`);
  failed = true;
  for (const connection of [...connections.values()]) connection.lost();
}

export class RemoteConnection extends Source {
  /** In milliseconds. */
  reconnectionTime = 3000;

  #id = 0;
  #replace;
  /** What is delivered now, behind which comes what is posted meanwhile. */
  #delivered = Promise.resolve();
  #untold = 0;

  /** @param {(connection: Connection) => void} replace puts another connection in its place */
  constructor(delivery, source, replace) {
    super(delivery, source);
    this.#replace = replace;
  }

  async begin() {
    if (this.readyState === CLOSED) return;
    if (failed) {
      this.lost();
      return;
    }
    // What cannot be posted, or is for this side.
    const { headers, body, signal, parse, onEvent, onComment, diagnostics, debug, persist, buffer, wake, worker, ...open } = this.source;
    const id = (this.#id = ++lastId);
    this.#untold = 0;
    connections.set(id, this);
    try {
      await (starting ??= start(worker));
      const module = await moduleURL();
      if (!connections.has(id)) return;
      const comments = onComment !== undefined;
      post({ id, module, comments, open: { ...open, lastEventId: this.lastEventId, referrer: location.href } });
    } catch (error) {
      fail(error.message); // as a policy has it
    }
  }

  /** Takes what the worker has posted. */
  receive(message) {
    if (message.ask) this.#answer(message);
    else this.#delivered = this.#delivered.then(() => away).then(() => connections.has(message.id) && this.#handle(message));
  }

  async #handle({ id, batch, origin, note, fire, details, readyState, reconnectionTime }) {
    if (!documentIsThere()) return;
    if (details?.headers) details.headers = new Headers(details.headers);
    this.details = details ?? this.details;
    if (note) {
      this.delivery.note(note, details);
      return;
    }
    this.reconnectionTime = reconnectionTime;
    if (batch) {
      await this.delivery.take(batch, origin, () => connections.has(id));
      this.#untold += batch.text.length;
      if (this.#untold >= TOLD_EVERY && connections.has(id)) {
        post({ id, taken: this.#untold });
        this.#untold = 0;
      }
      return;
    }
    this.readyState = readyState;
    if (readyState === CLOSED) {
      this.end();
      this.delivery.fail(details);
    } else this.delivery.fire(fire, details);
  }

  /** The worker asks for the headers or the body of a request. */
  async #answer({ ask, question, attempt }) {
    const id = this.#id;
    try {
      const given = this.source[ask];
      const value = typeof given === 'function' ? await given(attempt) : given;
      post({ id, question, value: ask === 'headers' ? [...new Headers(value)] : postable(value) }, tag(value) === 'ReadableStream' ? [value] : []);
    } catch (error) {
      post({ id, question, error: error instanceof Error ? error : new Error(String(error)) });
    }
  }

  /** The worker has ended. What was to come from it is had again from the server, unless its request cannot be repeated. */
  lost() {
    connections.delete(this.#id);
    const { url } = this.source;
    const { readyState } = this;
    if (!this.canRepeat && this.details.attempt > 0) {
      this.end();
      this.delivery.fail({ url, reason: 'network', willRetry: false });
      return;
    }
    this.end();
    this.#replace(new Connection(this.delivery, this.source));
    if (readyState === OPEN) this.delivery.fire('error', { url, reason: 'network', willRetry: true, retryIn: 0 });
  }

  wake(silence) {
    this.#call('wake', silence);
  }

  suspend() {
    if (this.readyState === OPEN) this.readyState = CONNECTING;
    this.#call('suspend');
  }

  renew(silence) {
    this.#call('renew', silence);
  }

  /** Calls a method of the connection in the worker. */
  #call(call, value) {
    if (connections.has(this.#id)) post({ id: this.#id, call, value });
  }

  /** A stream that the page has given is never here. */
  reset() {}

  end() {
    super.end();
    this.#call('close');
    connections.delete(this.#id);
  }
}

/** A body as it can be posted: these two, which cannot, as what worker.js makes them of. */
function postable(body) {
  if (tag(body) === 'FormData') return { form: [...body] };
  if (tag(body) === 'URLSearchParams') return { params: `${body}` };
  return body;
}
