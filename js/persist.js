// The option `persist`: the last event ID in a storage of the page's, for the source that comes after a reload.

const SAVE_INTERVAL = 250; // in milliseconds: a storage is written to synchronously

/**
 * Where one source's last event ID is kept. A storage that a browser withholds, as it may in private windows and frames
 * of other sites, or that is full, costs the page the resumption and a line on the console, and not the stream. Workers
 * have none.
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

  /** Returns what was kept, or else the ID that the page gave. */
  load(lastEventId) {
    this.#saved = this.#try((storage) => storage.getItem(this.#key)) ?? undefined;
    // Another script may have put there what no stream can have for an ID.
    const usable = this.#saved && !/[\0\r\n]/.test(this.#saved);
    this.#lastEventId = usable ? this.#saved : lastEventId;
    globalThis.document?.defaultView?.addEventListener('pagehide', this);
    return this.#lastEventId;
  }

  /** Keeps the ID, soon. */
  keep(lastEventId) {
    this.#lastEventId = lastEventId;
    if (lastEventId !== this.#saved) this.#timer ??= setTimeout(() => this.#save(), SAVE_INTERVAL);
  }

  /** The source is CLOSED. */
  end(lastEventId) {
    this.#lastEventId = lastEventId;
    globalThis.document?.defaultView?.removeEventListener('pagehide', this);
    this.#save();
  }

  /** The page is going away, perhaps for good. */
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
