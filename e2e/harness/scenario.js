import { loadIn } from './implementation.js';
import { Remote, start } from './remote.js';
import { Stream } from './stream.js';
import { normalise, requestLine, watch } from './trace.js';

/** The streams of all scenarios of this page. */
let streams = 0;

/** The API for scenarios: the implementation under test, the scripted server, and the trace. */
export class Scenario {
  /** What happened, in order, one line for each step. */
  trace = [];
  waitingFor = 'nothing';
  /** How many times the scenario has waited for something. */
  steps = 0;
  exchanges = [];
  #lab;
  #before = streams;
  #sources = [];
  #inboxes = new Map();
  #finished = false;
  #abort = new AbortController();

  constructor(EventSource, implementation, lab) {
    Object.assign(this, { EventSource, implementation, origins: lab.origins });
    this.#lab = lab;
  }

  /** A new URL of the scripted server. */
  stream(origin = 'A', path = '', { record = true } = {}) {
    return new Stream(this, { id: `${this.#lab.number}-${++streams}`, origin, path, record });
  }

  /** Constructs an EventSource and writes its events to the trace: open, message, error and the given types. */
  open(url, init, options) {
    return this.watch(new this.EventSource(url, init), options);
  }

  watch(source, { types = [], as } = {}) {
    this.#sources.push(source);
    const inbox = this.inbox(source);
    watch(source, { labels: this.origins, types, as }, (line, event) => {
      this.write(line);
      inbox.put(event.type, event);
    });
    return source;
  }

  /** Starts another realm, which can open sources. See start for the kinds. */
  async realm(kind) {
    const realm = new Remote(this, await this.waiting(`the ${kind} realm`, start(kind, this)));
    this.#sources.push(realm);
    await this.until(realm, 'ready');
    return realm;
  }

  /** An iframe with the HTML document, which the scripted server serves. */
  async frame(html, { type = 'text/html', headers = {} } = {}) {
    const server = this.stream('A', '/page', { record: false });
    const frame = document.createElement('iframe');
    const loaded = new Promise((resolve) => (frame.onload = resolve));
    frame.src = server.url;
    document.body.append(frame);
    const exchange = await server.accept({ headers: { 'Content-Type': type, ...headers } });
    await exchange.send(html);
    await exchange.end();
    await this.waiting('the frame to load', loaded);
    return frame;
  }

  /** The implementation under test in the realm of the given window. */
  in(window) {
    return loadIn(window, this.implementation);
  }

  /**
   * Waits for the next event of this type from the source, or from a worker's sources. It may have been fired already: each
   * call takes the first event that no earlier call took.
   */
  async until(source, type) {
    await this.begin();
    return this.waiting(`event ${type}`, this.inbox(source).take(type));
  }

  /** Makes the engine report responses whose body has not begun. */
  begin() {
    return Promise.all(this.exchanges.map((exchange) => exchange.begin()));
  }

  /**
   * Opens another source and waits while it connects, loses its connection, reconnects after the shortest time and receives an
   * event. What an earlier source has not done by then, it will not do.
   */
  async fence() {
    const server = this.stream('A', '/fence', { record: false });
    const { Fence = this.EventSource } = this.#lab; // another one if this one does not reconnect as the standard says
    const source = new Fence(server.url);
    const received = new Promise((resolve) => (source.onmessage = resolve));
    const first = await server.accept();
    await first.send('retry: 1\n\n');
    await first.end();
    await (await server.accept()).send('data: x\n\n');
    await this.waiting('the fence', received);
    source.close();
  }

  /** Writes the values to the trace: strings as they are, others as JSON. */
  note(...values) {
    this.write(values.map((value) => (typeof value === 'string' ? value : String(JSON.stringify(value)))).join(' '));
  }

  /** Notes what f returns or throws. */
  attempt(what, f) {
    try {
      this.note(`${what}:`, f());
    } catch (error) {
      const isDOMException = Object.prototype.toString.call(error) === '[object DOMException]'; // of any realm
      const code = isDOMException ? ` DOMException ${error.code}` : '';
      this.note(`${what}: throws ${error.name}${code}`);
    }
  }

  /** Writes an uncaught exception to the trace. */
  uncaught(message) {
    this.write(`uncaught ${message.replace(/^Uncaught /, '')}`); // a prefix in Chromium and WebKit
  }

  write(line) {
    if (!this.#finished) this.trace.push(normalise(line, this.origins));
  }

  /** Ends the trace with the requests that were not awaited, and stops waiting. */
  async finish() {
    this.#finished = true;
    for (const source of this.#sources) attempt(() => source.close());
    const unclaimed = await this.control('unclaimed requests', `unclaimed?after=${this.#before}`);
    this.trace.push(...unclaimed.map((request) => `not awaited: ${requestLine(request, this.origins)}`));
    this.#abort.abort();
  }

  inbox(source) {
    if (!this.#inboxes.has(source)) this.#inboxes.set(source, new Inbox());
    return this.#inboxes.get(source);
  }

  async control(what, path, init) {
    const { fetch = globalThis.fetch } = this.#lab; // outside of a page, one that sends the page's origin
    const response = await this.waiting(what, fetch(`${this.origins.control}/${path}`, { signal: this.#abort.signal, ...init }));
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    const body = await response.text();
    return body && JSON.parse(body);
  }

  /** Waits for the promise. If the run takes too long, its trace names what it waited for. */
  async waiting(what, promise) {
    this.waitingFor = what;
    this.steps++;
    return promise;
  }
}

/** Calls f and ignores exceptions, after the end of the trace. */
function attempt(f) {
  try {
    f();
  } catch {}
}

/** By type, the events that no one has taken and the callers that wait for one. */
class Inbox {
  #types = new Map();

  put(type, event) {
    const { takers, events } = this.#of(type);
    if (takers.length) takers.shift()(event);
    else events.push(event);
  }

  take(type) {
    const { takers, events } = this.#of(type);
    if (events.length) return Promise.resolve(events.shift());
    return new Promise((resolve) => takers.push(resolve));
  }

  #of(type) {
    if (!this.#types.has(type)) this.#types.set(type, { takers: [], events: [] });
    return this.#types.get(type);
  }
}
