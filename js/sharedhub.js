// The option `shared`, in the worker: groups sources by stream and executes the commands of each SharedStream. In a
// SharedWorker, one hub serves all pages of an origin. Without SharedWorker, each page has a worker with its own hub, and the
// hubs find each other by a lock and a channel.

import { Connection } from './connection.js';
import { DEFAULT_RECONNECTION_TIME } from './parser.js';
import { postable } from './posting.js';
import { lastIdOf } from './sharedlog.js';
import { headersOf, messageOf, placeOf, PROTOCOL } from './sharedmessages.js';
import { Client, SharedStream, TICK } from './sharedstream.js';
import { CLOSED, OPEN } from './source.js';

/** The options that belong to the connection but do not determine which sources share it. */
const OPTIONS = ['retry', 'idleTimeout', 'maxEventSize', 'lastEventIdParam', 'errorBodySize', 'accept', 'flushAtEnd'];

/** How long one node may try to steal a leader's lock before another may, in milliseconds. */
const LONGEST_THEFT = 2 * TICK;

/** How many milliseconds a page has to answer a request for headers before the next page is asked. It may be frozen. */
const ANSWER_TIME = 5000;

/** The number of PBKDF2 rounds for a name. */
const ITERATIONS = 10_000;

const optionsOf = (source) => OPTIONS.map((name) => JSON.stringify(source[name]) ?? '');

/** The streams that sources can join, by key. @type {Map<string, Stream>} */
const streams = new Map();

/** Undefined in insecure contexts and old browsers. */
const { locks } = navigator;

/** Whether this worker serves all pages, so that a stream needs no lock. */
const isSharedWorker = 'onconnect' in globalThis;

/** The sources of one page. */
export class Port {
  /** By number. @type {Map<number, Client>} */
  #clients = new Map();
  #port;

  constructor(port) {
    this.#port = port;
  }

  has(id) {
    return this.#clients.has(id);
  }

  receive({ id, open, call, taken, question, value, error }) {
    if (open) {
      this.#open(id, open);
      return;
    }
    const client = this.#clients.get(id);
    if (!client) return;
    if (call === 'close') this.#close(id, client);
    else if (call === 'wake') client.stream.wakeAll();
    else if (call === 'renew') client.stream.renew(Number(value) || 0);
    else if (taken) client.stream.taken(client, Number(taken) || 0);
    else client.stream.answered(client, question, value, error);
  }

  /** The page has gone. */
  end() {
    for (const [id, client] of [...this.#clients]) this.#close(id, client);
  }

  #open(id, open) {
    const place = placeOf(open);
    const given = open.given && headersOf(open.given);
    if (this.#clients.has(id) || !place || typeof open.url !== 'string' || (open.given && !given)) return;
    const client = new Client({ ...place, readyState: open.readyState === OPEN ? OPEN : 0 });
    client.post = (message) => this.#port.postMessage({ id, ...message });
    client.send = (message) => {
      if (message.readyState === CLOSED) this.#clients.delete(id);
      client.post(message);
    };
    client.lost = () => {
      this.#clients.delete(id);
      client.post({ lost: true });
    };
    this.#clients.set(id, client);
    const source = { ...open, given };
    streamOf(source).add(client, source);
  }

  #close(id, client) {
    this.#clients.delete(id);
    client.stream.remove(client);
  }
}

function streamOf(open) {
  const key = keyOf(open);
  if (!streams.has(key)) streams.set(key, new Stream(key, open));
  return streams.get(key);
}

/** Sources with equal keys share a stream. All functions for headers count as equal. */
function keyOf({ url, credentials, given }) {
  return JSON.stringify([url, credentials, given ?? 'function']);
}

/**
 * Returns the name of a stream's lock and channel. Names are visible in tools and crash reports, and URLs and headers may
 * contain tokens, so the name is a digest. All pages must derive the same name, so the salt cannot be secret. It is the origin,
 * which defeats precomputed tables; the rounds make each guess slow.
 */
async function nameOf(key) {
  const encode = (text) => new TextEncoder().encode(text);
  const { subtle } = crypto;
  const secret = await subtle.importKey('raw', encode(key), 'PBKDF2', false, ['deriveBits']);
  const salt = encode(`eventsource-wasm ${location.origin}`);
  const bits = await subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt, iterations: ITERATIONS }, secret, 128);
  return `eventsource-wasm ${PROTOCOL} ${Array.from(new Uint8Array(bits), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** One stream in this worker: the host of a SharedStream. */
class Stream {
  #key;
  #source;
  #shared;
  #name = '';
  #channel;
  #timer;
  /** Releases the lock, or stops waiting for it. */
  #leave;
  #connection;
  /** The pending question to the pages. @type {Asking | undefined} */
  #asking;

  constructor(key, source) {
    this.#key = key;
    this.#source = source;
    this.#shared = new SharedStream(this, { node: crypto.getRandomValues(new Uint32Array(2)).join(), now: performance.now() });
    this.#begin();
  }

  async #begin() {
    this.#timer = setInterval(() => this.#shared.tick(performance.now()), TICK);
    if (!locks || !globalThis.BroadcastChannel || !globalThis.crypto.subtle) {
      if (isSharedWorker) this.#shared.granted();
      else this.#fail();
      return;
    }
    try {
      const name = await nameOf(this.#key);
      if (this.#shared.phase === 'ended') return;
      this.#name = name;
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => {
        const message = messageOf(data);
        if (message) this.#shared.receive(message, performance.now());
      };
      this.#shared.begin();
    } catch {
      this.#fail();
    }
  }

  /** Makes every source continue over its own connection. */
  #fail() {
    for (const client of [...this.#shared.clients]) {
      client.lost();
      this.remove(client);
    }
  }

  // Called by clients.

  add(client, open) {
    client.stream = this;
    this.#warn([client], optionsOf(open), this.options);
    this.#shared.add(client);
  }

  /** Warns pages whose options differ from those of the shared connection. */
  #warn(clients, options, others) {
    const names = OPTIONS.filter((_, i) => options[i] !== others[i]);
    if (names.length === 0) return;
    const [url] = this.#source.url.split('?');
    const warn = `EventSource: the shared connection to ${url} has different values for ${names.join(', ')}`;
    for (const client of clients) client.post({ warn });
  }

  remove(client) {
    this.#shared.remove(client);
    this.#asking?.without(client);
  }

  wakeAll() {
    this.#shared.wake();
  }

  /** The page was frozen, and so was its own worker. */
  renew(since) {
    if (!isSharedWorker) this.#connection?.renew(since);
  }

  taken(client, length) {
    this.#shared.taken(client, length);
  }

  answered(client, question, value, error) {
    client.silent = false;
    this.#asking?.answered(client, question, value, error);
  }

  // The methods of the host, which SharedStream calls.

  get options() {
    return optionsOf(this.#source);
  }

  /** The options of the leader. */
  meet(options) {
    this.#warn(this.#shared.clients, this.options, options);
  }

  send(message) {
    this.#channel?.postMessage(message);
  }

  queue() {
    this.#request({});
  }

  async steal() {
    await locks.request(`${this.#name} theft`, { ifAvailable: true }, async (mine) => {
      if (!mine || !this.#shared.steals) return;
      this.release();
      this.#request({ steal: true });
      await new Promise((resolve) => setTimeout(resolve, LONGEST_THEFT));
    });
  }

  /** Requests the lock, and holds it until it is released or stolen. */
  #request(options) {
    if (!this.#name) return;
    const controller = new AbortController();
    let held = false;
    let left = false;
    let giveUp;
    this.#leave = () => {
      left = true;
      if (held) giveUp();
      else controller.abort();
    };
    const granted = () => {
      if (left) return undefined;
      held = true;
      const given = new Promise((resolve) => (giveUp = resolve));
      try {
        this.#shared.granted();
      } catch { // the page's options are invalid
        this.#fail();
      }
      return given;
    };
    const { signal } = controller;
    locks.request(this.#name, options.steal ? options : { signal }, granted).catch(() => {
      if (held && !left) this.#shared.stolen();
    });
  }

  release() {
    this.#leave?.();
    this.#leave = undefined;
  }

  connect(lastEventId, reconnectionTime) {
    this.#connection?.close();
    const { given, ...source } = this.#source;
    const delivery = new Production(this, lastEventId);
    this.#connection = new Connection(delivery, {
      ...source,
      lastEventId,
      reconnectionTime: reconnectionTime === DEFAULT_RECONNECTION_TIME ? undefined : reconnectionTime,
      headers: given ? new Headers(given) : (attempt) => this.#ask(attempt),
      onComment() {}, // some pages may have the option
    });
    delivery.connection = this.#connection;
  }

  disconnect() {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#asking?.end();
    connection?.close();
  }

  wake() {
    this.#connection?.wake();
  }

  closed() {
    this.#asking?.end();
    if (streams.get(this.#key) === this) streams.delete(this.#key);
  }

  ended() {
    this.closed();
    clearInterval(this.#timer);
    this.#channel?.close();
  }

  // Called by the connection.

  produce(connection, entry) {
    if (connection !== this.#connection) return;
    this.#shared.produce({ ...entry, reconnectionTime: connection.reconnectionTime });
  }

  note(what, details) {
    for (const client of this.#shared.clients) client.post({ note: what, details });
  }

  /** Asks the pages for headers. Cancels the question of an earlier attempt. */
  #ask(attempt) {
    this.#asking?.end();
    return new Promise((resolve, reject) => {
      this.#asking = new Asking(() => [...this.#shared.clients], attempt, resolve, reject);
      this.#asking.next();
    });
  }
}

let lastQuestion = 0;

/**
 * A question to the pages. The newest page is asked first, then the next one if that page fails, goes away or does not answer.
 * Pages that have not answered before are asked last.
 */
class Asking {
  #clients;
  #attempt;
  #resolve;
  #reject;
  #question = ++lastQuestion;
  /** The clients that were asked, and whether they may still answer. @type {Map<Client, boolean>} */
  #asked = new Map();
  #error = new Error('no page answered');
  #timer;

  constructor(clients, attempt, resolve, reject) {
    this.#clients = clients;
    this.#attempt = attempt;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  next() {
    clearTimeout(this.#timer);
    const others = this.#clients().filter((each) => !this.#asked.has(each));
    const client = others.filter(({ silent }) => !silent).at(-1) ?? others.at(-1);
    if (client) {
      this.#asked.set(client, true);
      client.silent = true; // until it answers
      this.#timer = setTimeout(() => this.next(), ANSWER_TIME);
      client.post({ ask: 'headers', question: this.#question, attempt: this.#attempt });
    } else if (![...this.#asked.values()].includes(true)) this.#reject(this.#error);
  }

  answered(client, question, value, error) {
    if (question !== this.#question || !this.#asked.get(client)) return;
    const headers = error === undefined ? headersOf(value) : undefined;
    if (headers) {
      this.end();
      this.#resolve(headers);
      return;
    }
    this.#error = error ?? new TypeError('a page returned invalid headers');
    this.#asked.set(client, false);
    this.next();
  }

  without(client) {
    if (!this.#asked.get(client)) return;
    this.#asked.set(client, false);
    this.next();
  }

  /** Ignores further answers. */
  end() {
    clearTimeout(this.#timer);
    this.#asked.clear();
  }
}

/** Replaces Delivery: passes everything to the shared stream. */
class Production {
  /** Always 0: slow pages do not delay a shared stream. */
  waits = 0;
  connection;
  #stream;

  constructor(stream, lastEventId) {
    this.#stream = stream;
    this.lastEventId = lastEventId;
  }

  take({ text, table }, origin, wanted) {
    this.lastEventId = lastIdOf({ text, table }) ?? this.lastEventId;
    if (table.length > 1 || table[0] >= 0) this.#stream.produce(this.connection, { batch: { text, table }, origin });
    return wanted();
  }

  fire(type, details, readyState) {
    this.#stream.produce(this.connection, { fire: type, details: postable(details), readyState });
  }

  fail(details) {
    this.fire('error', details, CLOSED);
  }

  note(what, details) {
    if (what !== 'close') this.#stream.note(what, postable(details));
  }

  end() {}
}
