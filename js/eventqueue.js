/**
 * The events of a source for one `for await` loop: those that it has not come to yet, of which there are at most `size`.
 * What happens then is up to `full`: `wait` leaves the rest of the stream unread, so that the server, or TCP, holds it;
 * `oldest` and `newest` drop such an event.
 */
export class EventQueue {
  #size;
  #full;
  #leave;
  #events = [];
  /** Those who wait for an event: { resolve, reject }. */
  #takers = [];
  /** What lets those go on who wait for room. */
  #waiting = [];
  #ended = false;
  #error;

  /** @param {{ size: number, full: string }} buffer @param {() => void} leave is called when the loop is left */
  constructor({ size, full }, leave) {
    this.#size = size;
    this.#full = full;
    this.#leave = leave;
  }

  /** Takes an event, and returns a promise of room if the stream has to wait for it. */
  put(event) {
    const taker = this.#takers.shift();
    if (taker) {
      taker.resolve({ value: event, done: false });
      return undefined;
    }
    if (this.#events.length >= this.#size) {
      if (this.#full === 'newest') return undefined;
      if (this.#full === 'oldest') this.#events.shift();
    }
    this.#events.push(event);
    if (this.#full !== 'wait' || this.#events.length < this.#size) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** No event follows. The loop ends when it has come to the last one, or throws the error. */
  end(error) {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#makeRoom();
    for (const taker of this.#takers.splice(0)) this.#last(taker);
  }

  next() {
    if (this.#events.length > 0) {
      this.#makeRoom();
      return Promise.resolve({ value: this.#events.shift(), done: false });
    }
    return new Promise((resolve, reject) => {
      if (this.#ended) this.#last({ resolve, reject });
      else this.#takers.push({ resolve, reject });
    });
  }

  /** The loop is left. */
  async return(value) {
    this.#events = [];
    this.end();
    this.#leave();
    return { value, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  #last({ resolve, reject }) {
    const error = this.#error;
    this.#error = undefined; // it is thrown once
    if (error) reject(error);
    else resolve({ value: undefined, done: true });
  }

  #makeRoom() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
