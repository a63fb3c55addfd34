/**
 * The events of a source that wait for one `for await` loop, at most `size`. If it is full, `full` decides: `wait` stops
 * reading the stream, so that TCP slows the server down; `oldest` and `newest` drop that event.
 */
export class EventQueue {
  #size;
  #full;
  #leave;
  #events = [];
  /** The pending calls of next: { resolve, reject }. */
  #takers = [];
  /** Resolves the promises that put has returned. */
  #waiting = [];
  #ended = false;
  #error;

  /** @param {{ size: number, full: string }} buffer @param {() => void} leave is called when the loop is left */
  constructor({ size, full }, leave) {
    this.#size = size;
    this.#full = full;
    this.#leave = leave;
  }

  /** Adds an event. Returns a promise of room if the stream has to wait. */
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

  /** Ends the loop after the waiting events, with the error if there is one. */
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

  /** Called when the loop is left. */
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
    this.#error = undefined; // throw it only once
    if (error) reject(error);
    else resolve({ value: undefined, done: true });
  }

  #makeRoom() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
