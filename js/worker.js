// dist/eventsource.worker.js runs the connections of sources with the options `worker` and `shared`. remote.js is the other
// end.

import { Connection } from './connection.js';
import { BUILD, setDefaultURL } from './engine.js';
import { costOf, LARGEST_LAG } from './lag.js';
import { postable, Questions } from './posting.js';
import { Port } from './sharedhub.js';
import { lastIdOf } from './sharedlog.js';
import { CLOSED } from './source.js';

/** @type {Map<number, Post>} */
const posts = new Map();

setDefaultURL(() => null); // until a page posts the URL

/** Serves a page, or one of the pages that share this worker. */
function serve(port) {
  // A page names the worker after its own build. A wrapper around Worker may have dropped the name.
  const { name } = /** @type {any} */ (globalThis);
  if (name && name !== BUILD) {
    port.postMessage({ stale: true });
    return;
  }
  const shared = new Port(port);
  port.onmessage = ({ data }) => {
    const { id, open, module, comments } = data;
    if (open && module) setDefaultURL(() => module);
    if (data.page) meet(shared, port, data.page);
    else if (open?.shared || shared.has(id)) shared.receive(data);
    else if (open && !isSharedWorker) posts.set(id, new Post(id, open, comments));
    else posts.get(id)?.receive(data);
  };
}

const isSharedWorker = 'onconnect' in globalThis;
if (isSharedWorker) addEventListener('connect', (event) => serve(/** @type {MessageEvent} */ (event).ports[0]));
else serve(globalThis);

/** Each side gets the other's lock when the other has gone. See meet in remote.js. */
async function meet(shared, port, page) {
  port.postMessage({ worker: await life });
  navigator.locks?.request(page, () => shared.end());
}

/** The name of a lock that this worker holds until it ends. */
const life = isSharedWorker && new Promise((resolve) => {
  const name = `eventsource-wasm worker ${crypto.getRandomValues(new Uint32Array(2)).join()}`;
  navigator.locks?.request(name, () => {
    resolve(name);
    return new Promise(() => {});
  });
});

/** Replaces Delivery: posts everything to the page. */
class Post {
  lastEventId;
  /** Whether the stream waits because the page is far behind: 1 or 0. */
  waits = 0;
  #id;
  #lag = 0;
  #goOn;
  #questions = new Questions();

  constructor(id, source, comments) {
    this.#id = id;
    this.lastEventId = source.lastEventId;
    const ask = (what) => (attempt) => this.#ask(what, attempt);
    this.connection = new Connection(this, {
      ...source,
      headers: ask('headers'),
      body: async (attempt) => bodyOf(await this.#ask('body', attempt)),
      onComment: comments ? () => {} : undefined,
    });
  }

  receive({ call, taken, question, value, error }) {
    if (call) this.connection[call](value);
    else if (taken) this.#wasTaken(taken);
    else this.#questions.answer(question, value, error);
  }

  async take(batch, origin, wanted) {
    if (batch.table.length === 1 && batch.table[0] < 0) return true; // no event is complete
    this.lastEventId = lastIdOf(batch) ?? this.lastEventId;
    this.#post({ batch: { text: batch.text, table: batch.table }, origin });
    this.#lag += costOf(batch);
    if (this.#lag > LARGEST_LAG) {
      this.waits = 1;
      await new Promise((resolve) => (this.#goOn = resolve));
      this.waits = 0;
    }
    return wanted();
  }

  /** The page has delivered messages of this cost. */
  #wasTaken(length) {
    this.#lag -= length;
    if (this.#lag <= LARGEST_LAG) this.#goOn?.();
  }

  fire(type, details, readyState) {
    this.#post({ fire: type, details: postable(details), readyState });
  }

  fail(details) {
    this.fire('error', details, CLOSED);
    this.end();
  }

  note(what, details) {
    this.#post({ note: what, details: postable(details) });
  }

  /** Ends the delivery: the source is CLOSED. */
  end() {
    posts.delete(this.#id);
    this.#goOn?.();
  }

  #ask(what, attempt) {
    return this.#questions.ask((question) => this.#post({ ask: what, question, attempt }));
  }

  #post(message) {
    postMessage({ id: this.#id, reconnectionTime: this.connection?.reconnectionTime, ...message });
  }
}

/** Restores a body that remote.js has posted. */
function bodyOf(value) {
  if (value?.params !== undefined) return new URLSearchParams(value.params);
  if (!value?.form) return value;
  const form = new FormData();
  for (const [name, entry] of value.form) form.append(name, entry);
  return form;
}
