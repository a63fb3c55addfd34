// The option `persist`: keeps the last event ID in a storage of the page, for the source after a reload.

const SAVE_INTERVAL = 250; // in milliseconds: writing to a storage is synchronous

/**
 * The stored last event ID of one source. If the storage is full, or if the browser denies access, as in some private windows
 * and frames of other sites, the console shows a warning and the stream works without resuming. Workers have no storage.
 */
export class Persisted {
  #key;
  #name;
  #saved;
  #lastEventId;
  #timer;

  constructor({ key, storage }) {
    this.#key = key;
    this.#name = storage;
  }

  /** Returns the stored ID, or `lastEventId` if there is none. */
  load(lastEventId) {
    this.#saved = this.#try((storage) => storage.getItem(this.#key)) ?? undefined;
    // Another script may have stored an invalid ID.
    const usable = this.#saved && !/[\0\r\n]/.test(this.#saved);
    this.#lastEventId = usable ? this.#saved : lastEventId;
    globalThis.document?.defaultView?.addEventListener('pagehide', this);
    return this.#lastEventId;
  }

  /** Stores the ID within SAVE_INTERVAL. */
  keep(lastEventId) {
    this.#lastEventId = lastEventId;
    if (lastEventId !== this.#saved) this.#timer ??= setTimeout(() => this.#save(), SAVE_INTERVAL);
  }

  /** Stores the ID and stops: the source is CLOSED. */
  end(lastEventId) {
    this.#lastEventId = lastEventId;
    globalThis.document?.defaultView?.removeEventListener('pagehide', this);
    this.#save();
  }

  /** Handles pagehide: the page may never return. */
  handleEvent() {
    this.#save();
  }

  #save() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const id = this.#lastEventId;
    if (id === (this.#saved ?? '')) return;
    this.#saved = id;
    this.#try((storage) => (id === '' ? storage.removeItem(this.#key) : storage.setItem(this.#key, id)));
  }

  #try(use) {
    try {
      return use(globalThis[this.#name]);
    } catch (error) {
      report(`EventSource: persist cannot use ${this.#name}: ${error.message}`);
      return undefined;
    }
  }
}

let reported = '';

function report(text) {
  if (text !== reported) console.warn(text);
  reported = text;
}
