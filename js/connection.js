// A connection does what Go's lifecycle commands for one EventSource, and tells it what came of it.

import { ENGINE_RETRY, LARGEST_PART, loadEngine } from './engine.js';
import { byteString, request } from './request.js';
import { CLOSED, CONNECTING, OPEN, Source } from './source.js';
import { documentIsThere, untilLeft } from './unload.js';

/** For how many milliseconds after its request nothing that wakes it says that a connection is dead. */
const JUST_SENT = 2000;

export class Connection extends Source {
  /** The number the engine knows it by. */
  id = 0;

  /** The response that the engine is asked about. @type {{ origin: string, body: import('./body.js').Body } | undefined} */
  #response;
  /** @type {import('./engine.js').Engine | undefined} */
  #engine;
  /** Of the request that is under way; another one, or none, tells what comes of it that it is not wanted any more. */
  #abort;
  #timer;
  /** Since when nothing has arrived, and what is going to look. */
  #quietSince = 0;
  #idleTimer;
  /** When the request was made, by the clock that goes on while the computer sleeps. */
  #sentAt = 0;
  /** The first request, which leaves before the engine is there to command it. */
  #early;
  /** How many requests were made since the connection was open, or since there is one. */
  #attempt = 0;
  #reconnectionTime = 3000;
  /** Whether events of a chunk are still to come, and whether what of one is left then is to be forgotten. */
  #delivering = false;
  #resetDue = false;
  begin() {
    if (this.readyState === CLOSED) return;
    const { url, stream } = this.source;
    this.#early = stream ? this.#sendNothing(url, stream) : this.#send(url, byteString(this.lastEventId));
    loadEngine().then(
      (engine) => this.#attach(engine),
      () => this.#retryEngine(),
    );
  }

  #attach(engine) {
    if (this.readyState === CLOSED) return;
    this.#engine = engine;
    engine.connect(this);
  }

  #send(url, lastEventId) {
    this.#abort = new AbortController();
    const { reason, status } = this.details;
    this.details = { url, attempt: ++this.#attempt, resumed: lastEventId !== '' };
    this.#quietSince = performance.now();
    this.#sentAt = Date.now();
    this.#watchIdle();
    this.delivery.note('request', this.details);
    const attempt = { attempt: this.#attempt, lastEventId: this.lastEventId, reason, status };
    return request(url, lastEventId, this.source, attempt, this.#abort.signal);
  }

  /** The page has given the stream. */
  async #sendNothing(url, body) {
    this.#abort = new AbortController();
    this.details = { url, attempt: 1, resumed: false };
    return { response: { status: 200, url, headers: new Headers({ 'Content-Type': 'text/event-stream' }) }, body };
  }

  // The commands of wasm/lifecycle.

  async fetch(url, lastEventId) {
    const sent = this.#early ?? this.#send(url, lastEventId);
    this.#early = undefined;
    const abort = this.#abort;
    const { response, body, futile, reason, cause } = await sent;
    if (abort !== this.#abort) return;
    if (response) {
      const { stream, method } = this.source;
      if (!stream) this.#know({ status: response.status, headers: response.headers, url: response.url || url });
      if (this.source.errorBodySize > 0 && !isStream(response)) {
        this.#know({ body: await body.text(this.source.errorBodySize) });
        if (abort !== this.#abort) return;
      }
      this.#response = { origin: new URL(response.url || url).origin, body };
      // A redirect may have made a GET of it.
      this.#engine.respond(this.id, response, method === 'GET' ? response.url : '');
      this.#response = undefined;
    } else {
      this.#know({ reason, cause });
      await untilLeft();
      if (abort === this.#abort) this.#engine.call('fail', this.id, futile);
    }
  }

  announce(stable) {
    const { origin, body } = this.#response;
    const abort = this.#abort;
    this.readyState = OPEN;
    if (stable > 0) this.wait(stable);
    this.#attempt = 0;
    this.#fire('open');
    if (abort === this.#abort) this.#read(body, origin, abort);
  }

  reestablish(delay, reason) {
    this.#abortFetch();
    this.readyState = CONNECTING;
    this.wait(delay);
    this.#fireError(reason, delay);
  }

  wait(delay) {
    this.#timer = setTimeout(() => this.#engine.call('timer', this.id), delay);
  }

  fail(reason, warning) {
    if (warning) console.warn(`EventSource: the connection has failed: ${warning}`);
    this.#giveUp(reason);
  }

  // What the page and the engine's loader do.

  /** In milliseconds. */
  get reconnectionTime() {
    return this.#engine?.call('reconnectionTime', this.id) || this.#reconnectionTime;
  }

  /** Forgets what has arrived of an event, since the page is going to put another stream into the one it gave. */
  reset() {
    const { stream } = this.source;
    if (!stream || stream.insert({ done: false, reset: true })) return; // the engine comes to that
    if (this.#delivering) this.#resetDue = true;
    else this.#engine?.call('reset', this.id);
  }

  /** What would be waited for may be had now, and what is open may be dead. A body that is sent once is not sent again. */
  wake() {
    if (this.source.once) return;
    // What comes after a sleep comes twice, from the clock and from the network.
    if (this.#abort && Math.abs(Date.now() - this.#sentAt) < JUST_SENT) return;
    if (this.#engine) {
      clearTimeout(this.#timer);
      this.#engine.call('wake', this.id);
    } else if (this.#timer && !this.#abort) {
      clearTimeout(this.#timer);
      this.begin();
    }
  }

  /** The engine has ended. */
  engineLost() {
    this.#engine = undefined;
    if (this.readyState !== CLOSED) this.#retryEngine();
  }

  #retryEngine() {
    if (this.readyState === CLOSED) return;
    if (this.source.once) {
      this.#giveUp('wasm');
      return;
    }
    this.#abortFetch();
    this.readyState = CONNECTING;
    this.#timer = setTimeout(() => this.begin(), ENGINE_RETRY);
    this.#fireError('wasm', ENGINE_RETRY);
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
    this.#reconnectionTime = this.reconnectionTime;
    this.#engine?.release(this.id);
    this.#engine = undefined;
  }

  #abortFetch() {
    clearTimeout(this.#timer);
    clearTimeout(this.#idleTimer);
    this.#early = undefined;
    this.#abort?.abort();
    this.#abort = undefined;
  }

  /** One timer for as long as the connection is not idle, and not one for each chunk. */
  #watchIdle() {
    const { idleTimeout } = this.source;
    if (idleTimeout === Infinity) return;
    if (this.delivery.waits > 0) this.#quietSince = performance.now();
    const left = this.#quietSince + idleTimeout - performance.now();
    if (left > 0 || !this.#engine) {
      this.#idleTimer = setTimeout(() => this.#watchIdle(), left > 0 ? Math.ceil(left) : idleTimeout);
    } else {
      this.#know({ reason: 'idle' });
      this.#engine.call('fail', this.id, false);
    }
  }

  async #read(body, origin, abort) {
    let input = 'end';
    try {
      for (;;) {
        const { done, value, reset } = await body.read();
        documentIsThere();
        if (abort !== this.#abort) return;
        if (reset) {
          this.#engine.call('reset', this.id);
          continue;
        }
        if (this.source.idleTimeout !== Infinity) this.#quietSince = performance.now();
        if (!done && value?.[Symbol.toStringTag] !== 'Uint8Array') throw new TypeError('The stream has a chunk that is no Uint8Array.');
        if (done || !(await this.#deliverAll(value, origin, abort))) break;
        if (this.source.idleTimeout !== Infinity) this.#quietSince = performance.now(); // loops may have waited
        if (this.#resetDue) {
          this.#resetDue = false;
          this.#engine.call('reset', this.id);
        }
      }
    } catch (cause) {
      input = 'fail';
      this.#know({ cause });
      await untilLeft();
    }
    if (abort === this.#abort) this.#engine.call(input, this.id, 0);
  }

  async #deliverAll(chunk, origin, abort) {
    this.#delivering = true;
    let open = true;
    for (let at = 0; open && at < chunk.length; at += LARGEST_PART) {
      open = await this.#deliver(chunk.subarray(at, at + LARGEST_PART), origin, abort);
    }
    this.#delivering = false;
    return open;
  }

  /** Delivers the events of a part of a chunk and returns whether to read on. */
  async #deliver(part, origin, abort) {
    const { failed, ...batch } = this.#engine.parse(this.id, part);
    const all = await this.delivery.take(batch, origin, () => abort === this.#abort);
    return all && !failed;
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

/** Whether the engine may take it for one: an error's body is read before that, and a stream's must not be. */
function isStream({ status, headers }) {
  return status === 200 && (headers.get('Content-Type') ?? '').toLowerCase().includes('text/event-stream');
}
