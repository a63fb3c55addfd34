import { CLOSED, CONNECTING, OPEN } from './states.js';
import { queueTask } from './task.js';
import { closeAtUnload, forget } from './unload.js';
import { letSleep, wakeUp } from './wake.js';

export { CLOSED, CONNECTING, OPEN };

/** What an EventSource has behind it, wherever its connection is. */
export class Source {
  readyState = CONNECTING;
  /** What is known of the last request: what an event tells, and a function in place of headers. */
  details;

  /**
   * @param {import('./delivery.js').Delivery | any} delivery or worker.js has its own
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
    if (source.wake) wakeUp(this);
    // In a task, so that a source which is closed in the one that made it sends nothing.
    queueTask(() => /** @type {any} */ (this).begin());
    closeAtUnload(this);
  }

  /** Whether a request may follow the one that was made. */
  get canRepeat() {
    const { once, resume } = this.source;
    return !once || (resume === 'get' && this.lastEventId !== '');
  }

  get lastEventId() {
    return this.delivery.lastEventId;
  }

  /** Begins to collect events for a loop. */
  iterate() {
    return this.delivery.iterate(this.readyState === CLOSED, () => this.close());
  }

  close() {
    if (this.readyState === CLOSED) return;
    this.delivery.note('close', this.details);
    this.end();
    this.delivery.end();
  }

  /** The page's signal was aborted. */
  handleEvent() {
    this.close();
  }

  /** It is CLOSED, and nobody has been told. */
  end() {
    this.readyState = CLOSED;
    forget(this);
    letSleep(this);
    this.source.signal?.removeEventListener('abort', this);
  }
}
