/**
 * An open or error event that also says what came of the connection. To a page that does not ask it is an Event: what
 * is added is not among its own properties and cannot be enumerated.
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
