import { ConnectionEvent } from './connectionevent.js';
import { note } from './diagnostics.js';
import { EventQueue } from './eventqueue.js';
import { Persisted } from './persist.js';
import { StreamEvent } from './streamevent.js';
import { documentIsThere } from './unload.js';

// Taken here, since a page may put a dispatchEvent of its own on an object.
const dispatchEvent = Function.prototype.call.bind(EventTarget.prototype.dispatchEvent);

/** What a connection delivers to the page: events at the target, to loops over them, and to the functions of the options. */
export class Delivery {
  lastEventId;
  /** How many events loops have to make room for: one, and one of each connection that was lost meanwhile. */
  waits = 0;

  #target;
  #source;
  /** What the last open event told, for the errors of `parse`. */
  #details = {};
  /** @type {Persisted | undefined} */
  #persisted;
  /** Of the loops over its events. @type {Set<EventQueue>} */
  #queues = new Set();

  /**
   * @param {EventTarget} target where events are fired
   * @param {import('./init.js').Init} source
   */
  constructor(target, source) {
    this.#target = target;
    this.#source = source;
    this.lastEventId = source.lastEventId;
    if (!source.persist || source.signal?.aborted) return;
    this.#persisted = new Persisted(source.persist);
    this.lastEventId = this.#persisted.load(this.lastEventId);
  }

  note(what, details) {
    note(this.#source, what, details);
  }

  /** Fires open, or an error after which the source goes on. */
  fire(type, details) {
    if (type === 'open') this.#details = details;
    this.note(type, details);
    const event = new ConnectionEvent(type, details);
    if (documentIsThere()) dispatchEvent(this.#target, event);
    return event;
  }

  /** Fires the error that has ended the source, and has loops throw it. */
  fail(details) {
    const queues = [...this.#queues];
    this.#queues.clear();
    this.end();
    const event = this.fire('error', details);
    // To have come to the end is what a loop is for.
    const ended = details.reason === 'ended' || details.status === 204;
    const error = ended ? undefined : new Error(`EventSource: ${details.reason}`, { cause: event });
    for (const queue of queues) queue.end(error);
  }

  /** The source is CLOSED. */
  end() {
    for (const queue of this.#queues) queue.end();
    this.#queues.clear();
    this.#persisted?.end(this.lastEventId);
  }

  /** Begins to collect events for a loop, which closes the source when it is left. */
  iterate(closed, close) {
    const queue = new EventQueue(this.#source.buffer, close);
    if (closed) queue.end();
    else this.#queues.add(queue);
    return queue;
  }

  /**
   * Fires the events that were found in a part of a chunk and returns whether they are wanted to the last, or a promise of
   * that. One event alone, the commonest case of all, needs no promise.
   *
   * @param {{ text: string, table: number[] | Int32Array }} batch
   * @param {string} origin
   * @param {() => boolean} wanted
   */
  take(batch, origin, wanted) {
    const { text, table } = batch;
    const rows = table.length - 1;
    if (rows > 3 || (rows > 0 && (this.#taps || table[0] < 0))) return this.#takeAll(batch, origin, wanted);
    let start = 0;
    if (rows > 0) {
      const [typeEnd, dataEnd, idEnd] = table;
      if (idEnd >= 0) this.lastEventId = text.slice(dataEnd, idEnd);
      start = idEnd >= 0 ? idEnd : dataEnd;
      const type = typeEnd > 0 ? text.slice(0, typeEnd) : 'message';
      dispatchEvent(this.#target, new StreamEvent(type, text.slice(typeEnd, dataEnd), origin, this.lastEventId));
      if (!wanted()) return false;
    }
    this.#endBatch(batch, start);
    return true;
  }

  /**
   * A browser runs all microtasks after each listener. We can but let those run that are there already: a listener's
   * close() behind one await stops the next event.
   */
  async #takeAll(batch, origin, wanted) {
    const { text, table } = batch;
    const rows = table.length - 1;
    let start = 0;
    for (let row = 0; row < rows; row += 3) {
      const typeEnd = table[row];
      const dataEnd = table[row + 1];
      const idEnd = table[row + 2];
      if (idEnd >= 0) this.lastEventId = text.slice(dataEnd, idEnd);
      const type = typeEnd > start ? text.slice(start, typeEnd) : 'message';
      const data = text.slice(typeEnd < 0 ? start : typeEnd, dataEnd);
      start = idEnd >= 0 ? idEnd : dataEnd;
      if (typeEnd < 0) this.#call(this.#source.onComment, data);
      else if (!this.#taps) dispatchEvent(this.#target, new StreamEvent(type, data, origin, this.lastEventId));
      else await this.#pass(type, data, origin, wanted);
      await undefined;
      if (!wanted()) return false;
    }
    this.#endBatch(batch, start);
    return true;
  }

  /** Takes the last event ID that no event had. */
  #endBatch({ text, table }, start) {
    const end = table[table.length - 1];
    if (end >= 0) this.lastEventId = text.slice(start, end);
    this.#persisted?.keep(this.lastEventId);
  }

  /** Whether anybody but the listeners wants something of an event. */
  get #taps() {
    return this.#source.parse !== undefined || this.#source.onEvent !== undefined || this.#queues.size > 0;
  }

  /** Fires an event and gives it to those who want all of them. */
  async #pass(type, data, origin, wanted) {
    const { parse, onEvent } = this.#source;
    let value = data;
    try {
      if (parse) value = parse(data, type);
    } catch (cause) {
      this.fire('error', { ...this.#details, reason: 'parse', willRetry: false, cause });
      return;
    }
    const event = new StreamEvent(type, value, origin, this.lastEventId);
    dispatchEvent(this.#target, event);
    if (wanted()) this.#call(onEvent, event);
    if (!wanted()) return;
    const full = [...this.#queues].map((queue) => queue.put(event)).filter(Boolean);
    if (full.length === 0) return;
    this.waits++;
    await Promise.all(full);
    this.waits--;
  }

  /** Calls a function of the page's as a listener is called: what it throws is the page's, and stops nothing. */
  #call(f, value) {
    try {
      f?.(value);
    } catch (error) {
      report(error);
    }
  }
}

/** Reports what a function of the page's has thrown, as far as the host has such a thing. */
function report(error) {
  if (globalThis.reportError) reportError(error);
  else setTimeout(() => {
    throw error;
  });
}
