// The options `worker` and `shared`: a connection in a worker of the page, or in a worker for all pages of the origin. The
// worker reads, parses and decodes the stream and posts batches; the page turns them into events.

import { Connection } from './connection.js';
import { absolute, BUILD, moduleURL } from './engine.js';
import { costOf } from './lag.js';
import { CLOSED, CONNECTING, OPEN, Source } from './source.js';
import { tag } from './tag.js';
import { away, documentIsThere } from './unload.js';

/** How much the page delivers between acknowledgments to the worker, in UTF-16 code units. */
const ACKNOWLEDGE_EVERY = 64 * 1024;

let workerURL;

/** Sets the default URL of the worker's script. @param {() => string | null | Promise<string>} url */
export function setWorkerURL(url) {
  workerURL = url;
}

/** The connections in workers, by number. @type {Map<number, RemoteConnection>} */
const connections = new Map();
let lastId = 0;

/**
 * Promises of the two workers, by the option `shared`. The worker for shared sources is the port of a SharedWorker where
 * browsers support it. Null if the worker has failed: no source tries again.
 */
const workers = {};

/** Disconnects the page from the SharedWorker. */
let leave;

/** Stops watching whether the SharedWorker ends. @type {AbortController | undefined} */
let watching;

/** Whether the connection can run in a worker. Some browsers have no Worker in shared and service workers. */
export const canBeRemote = ({ worker, shared }) => (worker || shared) && globalThis.Worker !== undefined && workers[shared] !== null;

/** @param {boolean | string | URL | object} given the URL of the script, unless it is a boolean */
async function start(shared, given) {
  const url = typeof given === 'boolean' ? await workerURL() : given;
  if (url === null) throw new Error('its URL is unknown: pass it as worker');
  // A script from another origin can only be imported by a blob: script, and pages cannot share a worker with such a script.
  const ofAll = shared && globalThis.SharedWorker && absolute(url).startsWith(`${origin}/`);
  const script = tag(url) === 'TrustedScriptURL' ? url : ofThisOrigin(absolute(url));
  const worker = /** @type {any} */ (ofAll ? new SharedWorker(script, BUILD) : new Worker(script, { name: BUILD }));
  const port = ofAll ? worker.port : worker;
  port.onmessage = ({ data }) => {
    if (data.stale) fail(shared, `${url} does not match this script: deploy both together`);
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

/** Returns a URL of the page's own origin, which workers require. A script there may import others. */
function ofThisOrigin(url) {
  const own = url.startsWith(`${origin}/`) || url.startsWith('blob:');
  return own ? url : URL.createObjectURL(new Blob([`importScripts(${JSON.stringify(url)})`]));
}

/** Whether the page is a frame of another site. Browsers partition storage, workers and locks for such frames. */
async function isPartitioned() {
  const { top, self, document } = globalThis;
  return top !== undefined && top !== self && !(await document.hasStorageAccess?.());
}

/** Makes the page and the SharedWorker notice when the other goes away: each holds a lock that the other requests. */
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
  navigator.locks?.request(worker, { signal: watching.signal }, gone).catch(() => {}); // rejects if the page leaves first
}

/** Moves the connections to the page: the worker has failed. */
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
  /** The worker, or the port of the SharedWorker. */
  #port;
  /** The position of this page in the shared stream. */
  #at;
  #replace;
  /** Resolves after the messages received so far are delivered, so that they stay in order. */
  #delivered = Promise.resolve();
  #unacknowledged = 0;

  /** @param {(connection: Connection) => void} replace sets another connection for the source */
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
    // The first options cannot be posted, or are used in the page.
    const { headers, body, signal, parse, onEvent, onComment, diagnostics, persist, buffer, wake, worker, ...open } = this.source;
    const id = (this.#id = ++lastId);
    this.#unacknowledged = 0;
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
      if (connections.has(id)) fail(shared, error.message); // a policy may forbid the worker
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

  /** Handles a message from the worker. */
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
      this.#at = undefined; // until the whole batch is delivered
      if (await this.delivery.take(batch, origin, () => connections.has(id))) this.#at = at;
      this.#unacknowledged += costOf(batch);
      if (this.#unacknowledged >= ACKNOWLEDGE_EVERY && connections.has(id)) {
        this.#post({ taken: this.#unacknowledged });
        this.#unacknowledged = 0;
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

  /** Answers a question of the worker for the headers or the body of a request. */
  async #answer({ ask, question, attempt }) {
    try {
      const given = this.source[ask];
      const value = typeof given === 'function' ? await given(attempt) : given;
      this.#post({ question, value: ask === 'headers' ? [...new Headers(value)] : postable(value) }, tag(value) === 'ReadableStream' ? [value] : []);
    } catch (error) {
      try {
        this.#post({ question, error: error instanceof Error ? error : new Error(String(error)) });
      } catch { // some errors cannot be posted
        this.#post({ question, error: new Error(`${ask} failed`) });
      }
    }
  }

  /** Reconnects in the page after the worker has ended, or fails if the request cannot be repeated. */
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

  renew(since) {
    this.#post({ call: 'renew', value: since });
  }

  /** Does nothing: only a source made by fromReadableStream can be reset, and it never runs in a worker. */
  reset() {}

  end() {
    super.end();
    this.#forget();
  }
}

/** Returns the body in a form that can be posted. worker.js restores it. */
function postable(body) {
  if (tag(body) === 'FormData') return { form: [...body] };
  if (tag(body) === 'URLSearchParams') return { params: `${body}` };
  return body;
}
