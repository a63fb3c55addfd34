// The options `worker` and `shared`: a connection in a worker, of the page or of all pages of the origin. It reads, parses
// and decodes there, and posts what a chunk held; the page makes the events.

import { Connection } from './connection.js';
import { absolute, BUILD, moduleURL } from './engine.js';
import { costOf } from './lag.js';
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

/**
 * Promises of the worker of the page's sources, and of that of the shared ones, which is the SharedWorker's port where there
 * is one. Null if it has failed: then no source tries another.
 */
const workers = {};

/** Disconnects the page from the SharedWorker. */
let leave;

/** Ends the wait for the end of the SharedWorker. @type {AbortController | undefined} */
let watching;

/** Whether the connection can be in a worker. Shared and service workers have no Worker in some browsers. */
export const canBeRemote = ({ worker, shared }) => (worker || shared) && globalThis.Worker !== undefined && workers[shared] !== null;

/** @param {boolean | string | URL | object} given where the script is, if the page says so */
async function start(shared, given) {
  const url = typeof given === 'boolean' ? await workerURL() : given;
  if (url === null) throw new Error('no address: set worker to it');
  // A script of another origin can only be imported, which needs a blob: script, and pages cannot share one of those.
  const ofAll = shared && globalThis.SharedWorker && absolute(url).startsWith(`${origin}/`);
  const script = tag(url) === 'TrustedScriptURL' ? url : ofThisOrigin(absolute(url));
  const worker = /** @type {any} */ (ofAll ? new SharedWorker(script, BUILD) : new Worker(script, { name: BUILD }));
  const port = ofAll ? worker.port : worker;
  port.onmessage = ({ data }) => {
    if (data.stale) fail(shared, `${url} is of another version than the script: deploy both`);
    else if (data.worker) watch(data.worker, port);
    else connections.get(data.id)?.receive(data);
  };
  if (ofAll) meet(port);
  worker.onerror = (event) => {
    event.preventDefault();
    if (!ofAll) worker.terminate();
    fail(shared, `${url}: ${event.message ?? 'it could not be loaded: check the address, worker-src and its Cross-Origin-Embedder-Policy'}`);
  };
  return port;
}

/** A worker's script must be from the page's origin. It may import others. */
function ofThisOrigin(url) {
  const own = url.startsWith(`${origin}/`) || url.startsWith('blob:');
  return own ? url : URL.createObjectURL(new Blob([`importScripts(${JSON.stringify(url)})`]));
}

/** Whether the page is a frame of another site. Browsers give those their own storage, workers and locks. */
async function isPartitioned() {
  const { top, self, document } = globalThis;
  return top !== undefined && top !== self && !(await document.hasStorageAccess?.());
}

/** The SharedWorker and the page each hold a lock. When one goes away, the other is granted its lock. */
function meet(port) {
  const page = `eventsource-wasm page ${Math.random()}`;
  navigator.locks?.request(page, () => {
    port.postMessage({ page });
    return /** @type {Promise<void>} */ (new Promise((resolve) => {
      leave = () => {
        resolve();
        port.close();
        watching?.abort();
        leave = workers.true = undefined;
      };
    }));
  });
}

function watch(worker, port) {
  watching = new AbortController();
  const gone = async () => {
    if ((await workers.true) !== port) return;
    workers.true = undefined;
    for (const connection of [...connections.values()]) if (connection.source.shared) connection.begin();
  };
  navigator.locks?.request(worker, { signal: watching.signal }, gone).catch(() => {}); // the page has left first
}

/** All goes on without a worker. */
function fail(shared, message) {
  if (workers[shared] === null) return;
  console.info(`eventsource-wasm runs without its worker: ${message}`);
  workers[shared] = null;
  for (const connection of [...connections.values()]) if (connection.source.shared === shared) connection.lost();
}

export class RemoteConnection extends Source {
  /** In milliseconds. */
  reconnectionTime = 3000;

  #id = 0;
  /** The worker that has this connection. */
  #port;
  /** The position of this page in the shared stream. */
  #at;
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
    const { shared } = this.source;
    if (shared && (await isPartitioned())) workers.true = null;
    if (this.readyState === CLOSED) return;
    if (workers[shared] === null) {
      this.lost();
      return;
    }
    this.#forget();
    // What cannot be posted, or is for this side.
    const { headers, body, signal, parse, onEvent, onComment, diagnostics, debug, persist, buffer, wake, worker, ...open } = this.source;
    const id = (this.#id = ++lastId);
    this.#untold = 0;
    connections.set(id, this);
    try {
      const port = await (workers[shared] ??= start(shared, worker));
      const module = await moduleURL();
      if (!connections.has(id)) return;
      this.#port = port;
      const comments = onComment !== undefined;
      const { lastEventId, readyState } = this;
      const given = typeof headers === 'function' ? undefined : [...headers];
      this.#post({ module, comments, open: { ...open, lastEventId, readyState, at: this.#at, given, referrer: location.href } });
    } catch (error) {
      if (connections.has(id)) fail(shared, error.message); // as a policy has it
    }
  }

  #post(message, transfer) {
    this.#port?.postMessage({ id: this.#id, ...message }, transfer);
  }

  /** Removes the connection from its worker. */
  #forget() {
    if (connections.delete(this.#id)) this.#post({ call: 'close' });
    this.#port = undefined;
  }

  /** Takes what the worker has posted. */
  receive(message) {
    if (message.ask) this.#answer(message);
    else this.#delivered = this.#delivered.then(() => away).then(() => connections.has(message.id) && this.#handle(message));
  }

  async #handle({ id, batch, origin, note, fire, details, readyState, reconnectionTime, at, lost, warn }) {
    if (!documentIsThere()) return;
    if (lost) this.lost();
    if (warn) console.warn(warn);
    if (lost || warn) return;
    if (details?.headers) details.headers = new Headers(details.headers);
    this.details = details ?? this.details;
    if (note) {
      this.delivery.note(note, details);
      return;
    }
    this.reconnectionTime = reconnectionTime;
    if (batch) {
      this.#at = undefined; // until all of it is delivered
      if (await this.delivery.take(batch, origin, () => connections.has(id))) this.#at = at;
      this.#untold += costOf(batch);
      if (this.#untold >= TOLD_EVERY && connections.has(id)) {
        this.#post({ taken: this.#untold });
        this.#untold = 0;
      }
      return;
    }
    this.#at = at ?? this.#at;
    this.readyState = readyState;
    if (readyState === CLOSED) {
      this.end();
      this.delivery.fail(details);
    } else this.delivery.fire(fire, details);
  }

  /** The worker asks for the headers or the body of a request. */
  async #answer({ ask, question, attempt }) {
    try {
      const given = this.source[ask];
      const value = typeof given === 'function' ? await given(attempt) : given;
      this.#post({ question, value: ask === 'headers' ? [...new Headers(value)] : postable(value) }, tag(value) === 'ReadableStream' ? [value] : []);
    } catch (error) {
      try {
        this.#post({ question, error: error instanceof Error ? error : new Error(String(error)) });
      } catch { // it cannot be posted
        this.#post({ question, error: new Error(`${ask} failed`) });
      }
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

  /** Rejoins a shared stream after leave, from its last position. */
  wake(silence) {
    if (this.source.shared && !this.#port) this.begin();
    else this.#post({ call: 'wake', value: silence });
  }

  /** Leaves a shared stream: a message to a page in the back/forward cache would evict it. */
  suspend() {
    if (this.source.shared) {
      this.#forget();
      leave?.();
      return;
    }
    if (this.readyState === OPEN) this.readyState = CONNECTING;
    this.#post({ call: 'suspend' });
  }

  renew(silence) {
    this.#post({ call: 'renew', value: silence });
  }

  /** A stream that the page has given is never here. */
  reset() {}

  end() {
    super.end();
    this.#forget();
  }
}

/** A body as it can be posted: these two, which cannot, as what worker.js makes them of. */
function postable(body) {
  if (tag(body) === 'FormData') return { form: [...body] };
  if (tag(body) === 'URLSearchParams') return { params: `${body}` };
  return body;
}
