import { CLOSED, CONNECTING, OPEN } from './states.js';
import { queueTask } from './task.js';
import { closeAtUnload, forget } from './unload.js';
import { unwatch, watch } from './wake.js';

export { CLOSED, CONNECTING, OPEN };

/** The state of an EventSource, for connections in the page and in workers. */
export class Source {
  readyState = CONNECTING;
  /** What is known about the last request, for events and for the argument of `headers` and `body`. */
  details;

  /**
   * @param {import('./delivery.js').Delivery | any} delivery or the class that replaces it in a worker
   * @param {import('./init.js').Init & { url: string, stream?: import('./body.js').Body }} source
   */
  constructor(delivery, source) {
    this.delivery = delivery;
    this.source = source;
    this.details = { url: source.url };
    if (source.signal?.aborted) {
      this.readyState = CLOSED;
      return;
    }
    source.signal?.addEventListener('abort', this);
    if (source.wake) watch(this);
    // In a task, so that a source closed in the same task sends nothing.
    queueTask(() => /** @type {any} */ (this).begin());
    closeAtUnload(this);
  }

  /** Whether the request may be sent again. */
  get canRepeat() {
    const { once, resume } = this.source;
    return !once || (resume === 'get' && this.lastEventId !== '');
  }

  get lastEventId() {
    return this.delivery.lastEventId;
  }

  /** Returns the events from now on, for a loop. Leaving the loop calls `leave`. */
  iterate(leave) {
    return this.delivery.iterate(this.readyState === CLOSED, leave);
  }

  close() {
    if (this.readyState === CLOSED) return;
    this.delivery.note('close', this.details);
    this.end();
    this.delivery.end();
  }

  /** Handles the abort event of the page's signal. */
  handleEvent() {
    this.close();
  }

  /** Sets the state to CLOSED without firing an event. */
  end() {
    this.readyState = CLOSED;
    forget(this);
    unwatch(this);
    this.source.signal?.removeEventListener('abort', this);
  }
}
