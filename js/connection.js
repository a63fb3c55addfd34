// A connection executes the commands of one EventSource's lifecycle and reports the results to it. The lifecycle is Go's once
// the module is loaded, and js/lifecycle.js before that.

import { LARGEST_PART, loadEngine, readyEngine } from './engine.js';
import { Lifecycle, STANDARD_RETRY } from './lifecycle.js';
import { essenceOf, EVENT_STREAM } from './mime.js';
import { BETWEEN_EVENTS, DEFAULT_RECONNECTION_TIME } from './parser.js';
import { request } from './request.js';
import { CLOSED, CONNECTING, OPEN, Source } from './source.js';
import { REQUESTING, STREAMING, WAITING } from './states.js';
import { away, documentIsThere, untilLeft } from './unload.js';

/** How long after its request a connection ignores wake(), in milliseconds. */
const JUST_SENT = 2000;

/** Completes an unfinished event, like a blank line. After a CR, the first LF completes a CRLF. */
const END_OF_EVENT = Uint8Array.of(10, 10);

/** Console messages by the reason of a failure. Browsers log statuses themselves, and 204 is not a failure. */
const WARNINGS = {
  forbidden: 'the browser does not allow the request',
  'content-type': "the response's Content-Type is not text/event-stream",
  limit: 'an event of the stream is larger than maxEventSize',
  ended: 'the server ended the stream',
  network: 'the network failed',
};

export class Connection extends Source {
  /** The lifecycle that decides what to do next. */
  #lifecycle;
  /** Whether the last input resulted in a command. */
  #commanded = false;

  /** The response, while the lifecycle decides about it. @type {{ origin: string, body: import('./body.js').Body, url: string } | undefined} */
  #response;
  /** The AbortController of the current request. The results of earlier requests are ignored. */
  #abort;
  #timer;
  /** When something last arrived, by performance.now(), and the timer that checks it. */
  #quietSince = 0;
  #idleTimer;
  /** When the request was made, by Date.now(), which continues while the computer sleeps. */
  #sentAt = 0;
  /** The number of requests since the connection was last open, or since the source was made. */
  #attempt = 0;
  /** The URL of the next request and the number of consecutive failures, for a new lifecycle if the engine ends. */
  #url;
  #failures = 0;
  /** The #abort of the request whose events are being delivered, and whether the parser must be reset after them. */
  #delivering;
  #resetDue = false;
  #suspended = false;
  /** Whether the engine has been requested. */
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

  /** Passes an input to the lifecycle and returns its result. */
  #input(name, ...values) {
    const lifecycle = this.#current();
    if (!lifecycle) return undefined;
    this.#commanded = false;
    const result = lifecycle.input(name, ...values);
    const unanswered = result === false && !this.#commanded && this.readyState !== CLOSED;
    this.#commanded = true; // if this call is nested in another input, that input resulted in a command
    return unanswered ? this.#input(name, ...values) : result;
  }

  /**
   * Returns the lifecycle for the next input: the engine's from the moment the engine is ready until it ends. Returns
   * undefined if the input no longer matters.
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

  /**
   * Replaces the lifecycle after the engine has ended. Parses the bytes of an unfinished event again. If they were too many
   * to keep, reconnects, so that the server sends them again.
   */
  #fallBack({ remains: { parser, since } }) {
    const open = this.readyState === OPEN;
    const lifecycle = this.#restart(parser);
    this.#note('script', 'ended');
    lifecycle.parse(since);
    if (!open || parser) return lifecycle;
    lifecycle.interrupt(false);
    return undefined;
  }

  /** Replaces the lifecycle by one that continues after the last event that was delivered. */
  #restart(parser = BETWEEN_EVENTS) {
    const { hasRetry, reconnectionTime } = this.#lifecycle;
    const options = this.#options();
    this.#lifecycle = new Lifecycle(this, options);
    this.#lifecycle.state = {
      phase: this.readyState === OPEN ? STREAMING : this.#abort ? REQUESTING : WAITING,
      url: this.#url,
      wait: 0,
      failures: this.#failures,
      retry: options.retry,
      parser: { ...parser, hasRetry, retry: reconnectionTime, lastEventId: this.lastEventId },
    };
    return this.#lifecycle;
  }

  #note(engine, reason) {
    if (this.readyState !== CLOSED) this.delivery.note('engine', { url: this.source.url, engine, reason });
  }

  #askForEngine() {
    this.#asked = true;
    const weak = new WeakRef(this); // a pending load must not keep the connection alive
    loadEngine().catch(({ reason }) => {
      const connection = weak.deref();
      if (connection) connection.#note('script', reason);
    });
  }

  #send(to, lastEventId, signal) {
    const { method, resume } = this.source;
    const get = method === 'GET' || (resume === 'get' && lastEventId !== '');
    // A redirect may have turned another method into GET (303 does), so the new URL may not accept that method.
    const url = get ? to : this.source.url;
    const { reason, status } = this.details;
    this.details = { url, attempt: ++this.#attempt, resumed: lastEventId !== '' };
    this.#quietSince = performance.now();
    this.#sentAt = Date.now();
    this.#watchIdle();
    this.delivery.note('request', this.details);
    const attempt = { attempt: this.#attempt, lastEventId: this.lastEventId, reason, status };
    return request(url, get ? 'GET' : method, lastEventId, this.source, attempt, signal);
  }

  /** Stands in for a request: the stream comes from the page. */
  #sendNothing(url, body) {
    this.details = { url, attempt: 1, resumed: false };
    return { response: { status: 200, url, contentType: EVENT_STREAM, retryAfter: 0 }, body };
  }

  // The commands of the lifecycle.

  async fetch(url, lastEventId) {
    this.#commanded = true;
    this.#url = url;
    const { stream } = this.source;
    const abort = (this.#abort = new AbortController());
    const sent = stream ? this.#sendNothing(url, stream) : this.#send(url, lastEventId, abort.signal);
    const { response, body, forbidden, reason, cause } = /** @type {any} */ (await sent);
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
      this.#input('respond', status, contentType, response.url, response.retryAfter);
      this.#response = undefined;
    } else {
      this.#know({ reason, cause });
      await untilLeft();
      if (abort === this.#abort) this.#input('interrupt', forbidden);
    }
  }

  /** Returns the status and type of a response. Those in `accept` become the ones that the standard requires. */
  #accepted({ status, contentType }) {
    const { statuses, contentTypes } = this.source.accept;
    return [statuses.includes(status) ? 200 : status, contentTypes.includes(essenceOf(contentType)) ? EVENT_STREAM : contentType];
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

  fail(reason) {
    this.#commanded = true;
    // A source that makes only one request is expected to end.
    const warning = reason === 'ended' && this.source.once ? undefined : WARNINGS[reason];
    if (warning) console.warn(`EventSource: the connection has failed: ${warning}`);
    this.#giveUp(reason);
  }

  // Called by the page.

  /** In milliseconds. */
  get reconnectionTime() {
    return this.#lifecycle?.reconnectionTime ?? DEFAULT_RECONNECTION_TIME;
  }

  /** Discards an unfinished event: the page pipes another stream into the one it passed to fromReadableStream. */
  reset() {
    if (!this.source.stream || !this.#lifecycle || this.readyState === CLOSED) return;
    if (this.#delivering) this.#resetDue = true;
    else this.#input('reset');
  }

  /**
   * Reconnects at once if the connection has been silent for `silence` milliseconds: the network may be back, or the
   * connection may be dead. Does nothing if the request cannot be repeated.
   */
  wake(silence = 0) {
    if (!this.canRepeat || !this.#lifecycle || performance.now() - this.#quietSince < silence) return;
    // After the computer slept, both the clock and the network call wake.
    if (this.#abort && Math.abs(Date.now() - this.#sentAt) < JUST_SENT) return;
    clearTimeout(this.#timer);
    this.#wake();
  }

  /** Closes the connection without an event until wake(), as whatwg/html#12381 proposes for the back/forward cache. */
  suspend() {
    if (!this.canRepeat || !this.#abort) return;
    this.#know({ reason: 'wake' });
    this.#suspended = true;
    this.#wake();
    this.#suspended = false;
  }

  /** Ends the connection. Drops its events for which a loop has no room: the server sends them again. */
  #wake() {
    if (this.#abort && this.#delivering === this.#abort) {
      this.#lifecycle.close();
      this.#restart();
    }
    this.#input('wake');
  }

  /** Reconnects without an event if the connection has been silent since that time, in milliseconds since 1970. */
  renew(since) {
    if (this.readyState !== OPEN || performance.timeOrigin + this.#quietSince >= since) return;
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

  /** Checks idleTimeout. One timer at a time is cheaper than a new one for each chunk. */
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
        if (chunk?.[Symbol.toStringTag] !== 'Uint8Array') throw new TypeError('A chunk is not a Uint8Array');
        this.#delivering = abort;
        const all = this.#deliver(chunk, origin, wanted);
        const open = all === true || (await all);
        if (!wanted()) return; // another stream may be delivering
        this.#delivering = undefined;
        if (!open || done) break;
        if (this.#resetDue) this.#input('reset');
        this.#resetDue = false;
        if (watched) this.#quietSince = performance.now(); // a loop may have delayed reading
      }
    } catch (cause) {
      this.#know({ cause });
      await untilLeft();
      if (wanted()) this.#input('interrupt', false);
      return;
    }
    if (wanted()) this.#input('end');
  }

  /** Delivers the events of a chunk. Returns whether to read on, as a promise if the delivery has to wait. */
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

  /** Copies the details, because events refer to those they were fired with. */
  #know(details) {
    this.details = { ...this.details, ...details };
  }

  /** Fires error with the lifecycle's reason, unless a more specific one is known. */
  #fireError(reason, retryIn) {
    this.#know({ reason: this.details.reason ?? reason, willRetry: true, retryIn });
    this.#fire('error');
  }

  #fire(type) {
    this.delivery.fire(type, this.details, this.readyState);
  }
}

