/**
 * An open or error event with details of the connection. It looks like a plain Event otherwise: the additional members are
 * getters on the prototype and not enumerable.
 */
export class ConnectionEvent extends Event {
  #details;

  /** @param {Partial<import('./index.d.ts').ConnectionErrorEvent>} details */
  constructor(type, details) {
    super(type);
    this.#details = details;
  }

  static {
    for (const name of ['reason', 'status', 'headers', 'body', 'url', 'attempt', 'resumed', 'willRetry', 'retryIn', 'cause']) {
      Object.defineProperty(this.prototype, name, {
        get() {
          return this.#details[name];
        },
        configurable: true,
      });
    }
    delete this.prototype.constructor;
  }
}
