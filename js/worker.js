// dist/eventsource.worker.js, which the option `worker` runs: the connections of a page's sources. remote.js is its other end.

import { Connection } from './connection.js';
import { setDefaultURL } from './engine.js';
import { CLOSED } from './source.js';

/** How far the page may be behind with what was posted to it, in UTF-16 code units, until a stream is not read on. */
const LARGEST_LAG = 1024 * 1024;

/** @type {Map<number, Post>} */
const posts = new Map();

onmessage = ({ data: { id, open, module, comments, call, taken, question, value, error } }) => {
  if (open) {
    setDefaultURL(() => module);
    posts.set(id, new Post(id, open, comments));
    return;
  }
  const post = posts.get(id);
  if (call) post?.connection[call](value);
  else if (taken) post?.wasTaken(taken);
  else post?.wasAnswered(question, value, error);
};

/** In place of a Delivery, posts what is to be delivered. */
class Post {
  lastEventId;
  /** Whether the page is so far behind that the stream waits for it. */
  waits = 0;
  #id;
  #lag = 0;
  #goOn;
  /** What the page was asked and has not answered, by number. */
  #questions = new Map();
  #lastQuestion = 0;

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

  async take(batch, origin, wanted) {
    if (batch.table.length === 1 && batch.table[0] < 0) return true; // a part of an event
    this.lastEventId = lastIdOf(batch) ?? this.lastEventId;
    this.#post({ batch: { text: batch.text, table: batch.table }, origin });
    this.#lag += batch.text.length;
    if (this.#lag > LARGEST_LAG) {
      this.waits = 1;
      await new Promise((resolve) => (this.#goOn = resolve));
      this.waits = 0;
    }
    return wanted();
  }

  /** The page has delivered so much. */
  wasTaken(length) {
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

  /** The source is CLOSED. */
  end() {
    posts.delete(this.#id);
    this.#goOn?.();
  }

  #ask(what, attempt) {
    const question = ++this.#lastQuestion;
    this.#post({ ask: what, question, attempt });
    return new Promise((resolve, reject) => this.#questions.set(question, { resolve, reject }));
  }

  wasAnswered(question, value, error) {
    const { resolve, reject } = this.#questions.get(question);
    this.#questions.delete(question);
    if (error === undefined) resolve(value);
    else reject(error);
  }

  #post(message) {
    postMessage({ id: this.#id, reconnectionTime: this.connection?.reconnectionTime, ...message });
  }
}

/** The last ID in a batch, which engine.parse describes, or undefined. */
function lastIdOf({ text, table }) {
  const rows = table.length - 1;
  if (table[rows] >= 0) return text.slice(Math.max(table[rows - 1] ?? 0, table[rows - 2] ?? 0), table[rows]);
  for (let row = rows - 3; row >= 0; row -= 3) {
    if (table[row + 2] >= 0) return text.slice(table[row + 1], table[row + 2]);
  }
  return undefined;
}

/** The body that remote.js has posted. */
function bodyOf(value) {
  if (value?.params !== undefined) return new URLSearchParams(value.params);
  if (!value?.form) return value;
  const form = new FormData();
  for (const [name, entry] of value.form) form.append(name, entry);
  return form;
}

/** Details as they can be posted: without what only this side can use. */
function postable({ headers, cause, ...details }) {
  if (headers) details.headers = [...headers];
  if (cause instanceof Error) details.cause = cause;
  return details;
}
