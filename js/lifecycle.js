// The lifecycle of a connection before Go's is loaded, or instead of it: section 9.2.3 "Processing model" of the HTML
// Standard. It makes the same decisions as wasm/lifecycle. Tests give the same inputs to both.
//
// Each input is a method. It ends with a command to the connection. A command may fire an event, and a listener may cause
// the next input, so the state must be up to date before the command.

import { essenceOf, EVENT_STREAM } from './mime.js';
import { Parser } from './parser.js';
import { ENDED, IDLE, REQUESTING, STREAMING, WAITING } from './states.js';
import { encode } from './text.js';

const MAX_DELAY = 2 ** 31 - 1; // in milliseconds: a timer with a longer delay fires at once

/** The standard's policy: reconnect after the reconnection time, and fail for any status other than 200. */
export const STANDARD_RETRY = { statuses: [], initial: 0, max: 0, factor: 1, jitter: 0, attempts: Infinity, resetAfter: 0, needsId: false, seed: 1 };

export class Lifecycle {
  /** Always false: only the engine's lifecycle can get lost. */
  lost = false;
  #commands;
  #parser;
  #url;
  #retry;
  #phase = IDLE;
  #wait = 0;
  #failures = 0;

  /** @param {object} commands has the methods fetch, announce, reestablish, wait and fail */
  constructor(commands, options) {
    const { url, retry = STANDARD_RETRY } = options;
    this.options = options;
    this.#commands = commands;
    this.#url = url;
    this.#retry = { ...retry };
    this.#parser = new Parser(options);
  }

  get reconnectionTime() {
    return this.#parser.reconnectionTime;
  }

  get hasRetry() {
    return this.#parser.hasRetry;
  }

  /** Calls the input with that name, like the engine's lifecycle. */
  input(name, ...values) {
    return this[name](...values);
  }

  connect() {
    if (this.#phase === IDLE) this.#fetch();
  }

  /**
   * "Otherwise, if res's status is not 200, or if res's `Content-Type` is not `text/event-stream`, then fail the
   * connection. Otherwise, announce the connection and interpret res's body line by line."
   */
  respond(status, contentType, url, retryAfter) {
    if (this.#phase !== REQUESTING) return;
    if (status !== 200 && status !== 204 && this.#retry.statuses.includes(status)) this.#reestablish('status', retryAfter);
    else if (status !== 200) this.#fail('status');
    else if (essenceOf(contentType) !== EVENT_STREAM) this.#fail('content-type');
    else {
      // Reconnect to the final URL: the standard reuses the request and its URL list, which includes redirects.
      if (url !== '') this.#url = url;
      this.#phase = STREAMING;
      this.#parser.reset();
      if (this.#retry.resetAfter === 0) this.#failures = 0;
      this.#commands.announce(this.#retry.resetAfter);
    }
  }

  /** Whether an event was too large, so the stream has to end. */
  get failed() {
    return this.#parser.failed;
  }

  parse(part) {
    return this.#parser.parse(part);
  }

  /**
   * "If res is a network error, then reestablish the connection, unless the user agent knows that to be futile, in which
   * case the user agent may fail the connection."
   */
  interrupt(forbidden) {
    if (this.#phase !== REQUESTING && this.#phase !== STREAMING) return;
    if (forbidden) this.#fail('forbidden');
    else this.#reestablish('network');
  }

  /**
   * "processResponseEndOfBody: […] If res is not a network error, then reestablish the connection." A stream whose event was
   * too large fails, because the server would send that event again.
   */
  end() {
    if (this.#phase !== STREAMING) return;
    if (this.#parser.failed) this.#fail('limit');
    else this.#reestablish('ended');
  }

  wake() {
    if (this.#phase === WAITING) this.#fetch();
    else if (this.#phase === REQUESTING || this.#phase === STREAMING) {
      this.#phase = WAITING;
      this.#wait = 0;
      this.#commands.reestablish(0, 'wake');
    }
  }

  timer() {
    if (this.#phase === STREAMING) this.#failures = 0;
    else if (this.#phase === WAITING && this.#wait > 0) this.#commands.wait(this.#takeDelay());
    else if (this.#phase === WAITING) this.#fetch();
  }

  reset() {
    this.#parser.reset();
  }

  /** The page has called close(). The request is aborted and the timer stopped. */
  close() {
    this.#phase = ENDED;
  }

  /** The state from which Go continues. */
  get state() {
    return { phase: this.#phase, url: this.#url, wait: this.#wait, failures: this.#failures, retry: this.#retry, parser: this.#parser.state };
  }

  set state({ phase, url, wait, failures, retry, parser }) {
    this.#phase = phase;
    this.#url = url;
    this.#wait = wait;
    this.#failures = failures;
    this.#retry = { ...retry };
    this.#parser.state = parser;
  }

  /**
   * "If the EventSource object's last event ID string is not the empty string, then: Let lastEventIDValue be the
   * EventSource object's last event ID string, encoded as UTF-8. Set (`Last-Event-ID`, lastEventIDValue) in request's
   * header list."
   */
  #fetch() {
    this.#phase = REQUESTING;
    this.#commands.fetch(this.#url, byteString(this.#parser.lastEventId));
  }

  /**
   * "If the readyState attribute is set to CLOSED, abort the task. Set the readyState attribute to CONNECTING. Fire an
   * event named error at the EventSource object. […] Wait a delay equal to the reconnection time of the event source.
   * Optionally, wait some more. In particular, if the previous attempt failed, then user agents might introduce an
   * exponential backoff delay". The timer may start before the event fires, since no timer fires within a task.
   */
  #reestablish(reason, atLeast = 0) {
    this.#failures++;
    const { attempts, needsId } = this.#retry;
    if (this.#failures >= attempts || (needsId && this.#parser.lastEventId === '')) {
      this.#fail(reason);
      return;
    }
    this.#phase = WAITING;
    this.#wait = Math.max(atLeast, this.#delay());
    this.#commands.reestablish(this.#takeDelay(), reason);
  }

  #delay() {
    const { initial, max, factor, jitter } = this.#retry;
    const { hasRetry, reconnectionTime } = this.#parser;
    if (initial === 0) return reconnectionTime;
    let delay = initial;
    for (let n = 1; n < this.#failures && delay < max; n++) delay *= factor;
    delay = Math.min(delay, max);
    delay -= delay * jitter * this.#chance();
    return Math.max(Math.trunc(delay), hasRetry ? reconnectionTime : 0);
  }

  /** Returns the next number in [0, 1) of a xorshift generator (Marsaglia, 2003). Go continues the same sequence. */
  #chance() {
    let seed = this.#retry.seed | 1; // zero would only lead to zero
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    this.#retry.seed = seed;
    return (seed >>> 0) / 2 ** 32;
  }

  #takeDelay() {
    const delay = Math.min(this.#wait, MAX_DELAY);
    this.#wait -= delay;
    return delay;
  }

  /**
   * "Set the readyState attribute to CLOSED and fire an event named error at the EventSource object. Once the user agent
   * has failed the connection, it does not attempt to reconnect."
   */
  #fail(reason) {
    this.#phase = ENDED;
    this.#commands.fail(reason);
  }
}

/** Returns the ID as a byte string: each character is a byte of its UTF-8. fetch expects header values in that form. */
function byteString(lastEventId) {
  if (lastEventId === '') return ''; // jsdom has no TextEncoder
  return Array.from(encode(lastEventId), (byte) => String.fromCharCode(byte)).join('');
}
