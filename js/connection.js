// A connection does what the lifecycle of one EventSource commands, and tells it what came of it. That is Go's when it is
// there, and js/lifecycle.js until then.

import { LARGEST_PART, loadEngine, readyEngine } from './engine.js';
import { Lifecycle, STANDARD_RETRY } from './lifecycle.js';
import { essenceOf, EVENT_STREAM } from './mime.js';
import { BETWEEN_EVENTS, DEFAULT_RECONNECTION_TIME } from './parser.js';
import { request, retryAfter } from './request.js';
import { CLOSED, CONNECTING, OPEN, Source } from './source.js';
import { REQUESTING, STREAMING, WAITING } from './states.js';
import { away, documentIsThere, untilLeft } from './unload.js';

/** For how many milliseconds after its request nothing that wakes it says that a connection is dead. */
const JUST_SENT = 2000;

/** Completes an unfinished event, as a blank line would. After a CR, the first LF completes a CRLF. */
const END_OF_EVENT = Uint8Array.of(10, 10);

export class Connection extends Source {
  /** Whose commands it follows, and to whom it gives the inputs. */
  #lifecycle;
  /** Whether the last input has led to a command. */
  #commanded = false;

  /** The response that the lifecycle is asked about. @type {{ origin: string, body: import('./body.js').Body, url: string } | undefined} */
  #response;
  /** Of the request that is under way; another one, or none, tells what comes of it that it is not wanted any more. */
  #abort;
  #timer;
  /** Since when nothing has arrived, and what is going to look. */
  #quietSince = 0;
  #idleTimer;
  /** When the request was made, by the clock that goes on while the computer sleeps. */
  #sentAt = 0;
  /** How many requests were made since the connection was open, or since there is one. */
  #attempt = 0;
  /** Where the next request goes, and how many attempts have failed in a row, should the engine end. */
  #url;
  #failures = 0;
  /** Whether events of a chunk are still to come, and whether what of one is left then is to be forgotten. */
  #delivering = false;
  #resetDue = false;
  #suspended = false;
  /** Whether it has asked for the engine. */
  #asked = false;

  begin() {
    if (this.readyState === CLOSED) return;
    this.#note('script');
    this.#lifecycle = new Lifecycle(this, this.#options());
    this.#lifecycle.connect();
  }

  #options() {
    const { url, maxEventSize, onComment, once, resume, reconnectionTime, retry = STANDARD_RETRY } = this.source;
    const [seed] = crypto.getRandomValues(new Uint32Array(1));
    return {
      url,
      maxEventSize,
      reconnectionTime,
      lastEventId: this.lastEventId,
      comments: onComment !== undefined,
      retry: { ...retry, attempts: once && resume !== 'get' ? 1 : retry.attempts, needsId: once && resume === 'get', seed },
    };
  }

  /** Gives the lifecycle an input, and returns what it returns. */
  #input(name, ...values) {
    const lifecycle = this.#current();
    if (!lifecycle) return undefined;
    this.#commanded = false;
    const result = lifecycle.input(name, ...values);
    const unanswered = result === false && !this.#commanded && this.readyState !== CLOSED;
    this.#commanded = true; // or this would not have been called by a command
    return unanswered ? this.#input(name, ...values) : result;
  }

  /**
   * The lifecycle for the next input: the engine's from the moment it is there, until it has ended. Undefined if there is
   * nothing to give an input to any more.
   */
  #current() {
    const lifecycle = this.#lifecycle;
    const engine = readyEngine();
    if (lifecycle.lost) return this.#fallBack(lifecycle);
    if (!engine || !(lifecycle instanceof Lifecycle) || lifecycle.failed) return lifecycle;
    const adopted = engine.adopt(this, lifecycle);
    if (adopted.lost) return lifecycle;
    this.#note('go');
    return (this.#lifecycle = adopted);
  }

  /** The engine has ended. What has arrived of an event is parsed again, or received again if that is too much. */
  #fallBack({ remains: { parser, since }, reconnectionTime }) {
    const options = this.#options();
    const open = this.readyState === OPEN;
    const lifecycle = new Lifecycle(this, options);
    lifecycle.state = {
      phase: open ? STREAMING : this.#abort ? REQUESTING : WAITING,
      url: this.#url,
      wait: 0,
      failures: this.#failures,
      retry: options.retry,
      parser: { ...(parser ?? { ...BETWEEN_EVENTS, hasRetry: true, retry: reconnectionTime }), lastEventId: this.lastEventId },
    };
    this.#lifecycle = lifecycle;
    this.#note('script', 'ended');
    lifecycle.parse(since);
    if (!open || parser) return lifecycle;
    lifecycle.interrupt(false);
    return undefined;
  }

  #note(engine, reason) {
    if (this.readyState !== CLOSED) this.delivery.note('engine', { url: this.source.url, engine, reason });
  }

  #askForEngine() {
    this.#asked = true;
    const weak = new WeakRef(this); // or who waits for a module that does not arrive could not be forgotten
    loadEngine().catch(({ reason }) => {
      const connection = weak.deref();
      if (connection) connection.#note('script', reason);
    });
  }

  #send(to, lastEventId) {
    const { method, resume } = this.source;
    const get = method === 'GET' || (resume === 'get' && lastEventId !== '');
    // What another request than a GET was redirected to may want none of its kind: 303 means GET.
    const url = get ? to : this.source.url;
    this.#abort = new AbortController();
    const { reason, status } = this.details;
    this.details = { url, attempt: ++this.#attempt, resumed: lastEventId !== '' };
    this.#quietSince = performance.now();
    this.#sentAt = Date.now();
    this.#watchIdle();
    this.delivery.note('request', this.details);
    const attempt = { attempt: this.#attempt, lastEventId: this.lastEventId, reason, status };
    return request(url, get ? 'GET' : method, lastEventId, this.source, attempt, this.#abort.signal);
  }

  /** The page has given the stream. */
  #sendNothing(url, body) {
    this.#abort = new AbortController();
    this.details = { url, attempt: 1, resumed: false };
    return { response: { status: 200, url, headers: new Headers({ 'Content-Type': 'text/event-stream' }) }, body };
  }

  // The commands of the lifecycle.

  async fetch(url, lastEventId) {
    this.#commanded = true;
    this.#url = url;
    const { stream } = this.source;
    const sent = stream ? this.#sendNothing(url, stream) : this.#send(url, lastEventId);
    const abort = this.#abort;
    const { response, body, futile, reason, cause } = /** @type {any} */ (await sent);
    await away;
    if (abort !== this.#abort) return;
    if (response) {
      if (!stream) this.#know({ status: response.status, headers: response.headers, url: response.url || url });
      const [status, contentType] = this.#accepted(response);
      if (this.source.errorBodySize > 0 && !(status === 200 && essenceOf(contentType) === EVENT_STREAM)) {
        this.#know({ body: await body.text(this.source.errorBodySize) });
        if (abort !== this.#abort) return;
      }
      this.#response = { origin: new URL(response.url || url).origin, body, url: response.url || url };
      this.#input('respond', status, contentType, response.url, retryAfter(response.headers.get('Retry-After')));
      this.#response = undefined;
    } else {
      this.#know({ reason, cause });
      await untilLeft();
      if (abort === this.#abort) this.#input('interrupt', futile);
    }
  }

  /** The status and the type of a response, as the standard would have them if `accept` lists them. */
  #accepted({ status, headers }) {
    const { statuses, contentTypes } = this.source.accept;
    const type = headers.get('Content-Type') ?? '';
    return [statuses.includes(status) ? 200 : status, contentTypes.includes(essenceOf(type)) ? EVENT_STREAM : type];
  }

  announce(stable) {
    this.#commanded = true;
    const { origin, body, url } = this.#response;
    const abort = this.#abort;
    this.#url = url;
    this.readyState = OPEN;
    if (stable > 0) this.wait(stable);
    else this.#failures = 0;
    this.#attempt = 0;
    this.#fire('open');
    if (!this.#asked) this.#askForEngine();
    if (abort === this.#abort) this.#read(body, origin, abort);
  }

  reestablish(delay, reason) {
    this.#commanded = true;
    if (reason !== 'wake') this.#failures++;
    this.#abortFetch();
    this.readyState = CONNECTING;
    if (this.#suspended) return;
    this.wait(delay);
    this.#fireError(reason, delay);
  }

  wait(delay) {
    this.#commanded = true;
    this.#timer = setTimeout(() => {
      if (this.readyState === OPEN) this.#failures = 0;
      this.#input('timer');
    }, delay);
  }

  fail(reason, warning) {
    this.#commanded = true;
    // Where there is but one stream, its end is in order.
    if (warning && !(reason === 'ended' && this.source.once)) console.warn(`EventSource: the connection has failed: ${warning}`);
    this.#giveUp(reason);
  }

  // What the page does.

  /** In milliseconds. */
  get reconnectionTime() {
    return this.#lifecycle?.reconnectionTime ?? DEFAULT_RECONNECTION_TIME;
  }

  /** Discards an unfinished event, because the page pipes another stream into the one it gave. */
  reset() {
    if (!this.source.stream || !this.#lifecycle || this.readyState === CLOSED) return;
    if (this.#delivering) this.#resetDue = true;
    else this.#input('reset');
  }

  /**
   * Reconnects at once if the connection has been silent for that many milliseconds: the network may be back, or the
   * connection dead. Does nothing if the request is made only once.
   */
  wake(silence = 0) {
    if (!this.canRepeat || !this.#lifecycle || performance.now() - this.#quietSince < silence) return;
    // After a sleep, both the clock and the network wake the source.
    if (this.#abort && Math.abs(Date.now() - this.#sentAt) < JUST_SENT) return;
    clearTimeout(this.#timer);
    this.#input('wake');
  }

  /** Closes the connection without an event until wake(), as whatwg/html#12381 proposes for the back/forward cache. */
  suspend() {
    if (!this.canRepeat || !this.#abort) return;
    this.#know({ reason: 'wake' });
    this.#suspended = true;
    this.#input('wake');
    this.#suspended = false;
  }

  /** Reconnects without an event if the connection has been silent for that many milliseconds. */
  renew(silence) {
    if (this.readyState !== OPEN || performance.now() - this.#quietSince < silence) return;
    this.suspend();
    this.wake();
  }

  #giveUp(reason) {
    this.end();
    this.#know({ reason: this.details.reason ?? reason, willRetry: false, retryIn: undefined });
    this.delivery.fail(this.details);
  }

  end() {
    super.end();
    this.#abortFetch();
    this.source.stream?.cancel();
    this.#lifecycle?.close();
  }

  #abortFetch() {
    clearTimeout(this.#timer);
    clearTimeout(this.#idleTimer);
    this.#abort?.abort();
    this.#abort = undefined;
  }

  /** Uses one timer while the connection is not idle, rather than one for each chunk. */
  #watchIdle() {
    const { idleTimeout } = this.source;
    if (idleTimeout === Infinity) return;
    if (this.delivery.waits > 0) this.#quietSince = performance.now();
    const left = this.#quietSince + idleTimeout - performance.now();
    if (left > 0) this.#idleTimer = setTimeout(() => this.#watchIdle(), Math.ceil(left));
    else {
      this.#know({ reason: 'idle' });
      this.#input('interrupt', false);
    }
  }

  async #read(body, origin, abort) {
    const watched = this.source.idleTimeout !== Infinity;
    const wanted = () => abort === this.#abort;
    try {
      for (;;) {
        const { done, value } = await body.read();
        if (away) await away;
        documentIsThere();
        if (!wanted()) return;
        this.#quietSince = performance.now();
        if (done && !this.source.flushAtEnd) break;
        const chunk = done ? END_OF_EVENT : value;
        if (chunk?.[Symbol.toStringTag] !== 'Uint8Array') throw new TypeError('A chunk is no Uint8Array');
        this.#delivering = true;
        const all = this.#deliver(chunk, origin, wanted);
        const open = all === true || (await all);
        this.#delivering = false;
        if (!open || done) break;
        if (this.#resetDue) this.#input('reset');
        this.#resetDue = false;
        if (watched) this.#quietSince = performance.now(); // loops may have waited
      }
    } catch (cause) {
      this.#know({ cause });
      await untilLeft();
      if (wanted()) this.#input('interrupt', false);
      return;
    }
    if (wanted()) this.#input('end');
  }

  /** Delivers the events of a chunk and returns whether to read on, or a promise of that where there is something to wait for. */
  #deliver(chunk, origin, wanted) {
    if (chunk.length > LARGEST_PART) return this.#deliverParts(chunk, origin, wanted);
    let batch = this.#current()?.parse(chunk);
    if (batch === false) batch = this.#current()?.parse(chunk); // the engine has ended
    if (!wanted()) return false;
    const all = this.delivery.take(batch, origin, wanted);
    if (!batch.failed) return all;
    return typeof all === 'boolean' ? false : all.then(() => false);
  }

  async #deliverParts(chunk, origin, wanted) {
    for (let at = 0; at < chunk.length; at += LARGEST_PART) {
      if (!(await this.#deliver(chunk.subarray(at, at + LARGEST_PART), origin, wanted))) return false;
    }
    return true;
  }

  /** An event keeps the details it was fired with. */
  #know(details) {
    this.details = { ...this.details, ...details };
  }

  /** Fires error, for the lifecycle's reason unless that is known better. */
  #fireError(reason, retryIn) {
    this.#know({ reason: this.details.reason ?? reason, willRetry: true, retryIn });
    this.#fire('error');
  }

  #fire(type) {
    this.delivery.fire(type, this.details, this.readyState);
  }
}

