import { ConnectionEvent } from './connectionevent.js';
import { note } from './diagnostics.js';
import { EventQueue } from './eventqueue.js';
import { Persisted } from './persist.js';
import { StreamEvent } from './streamevent.js';
import { documentIsThere } from './unload.js';

// A page may define its own dispatchEvent on an object or a prototype.
const dispatchEvent = Function.prototype.call.bind(EventTarget.prototype.dispatchEvent);

/** Delivers events to the page: to the target, to `for await` loops, and to the functions in the options. */
export class Delivery {
  lastEventId;
  /** The number of events that wait for room in a loop: one from this connection, and one from each connection lost meanwhile. */
  waits = 0;

  #target;
  #source;
  /** The details of the last open event, for the errors of `parse`. */
  #details = {};
  /** @type {Persisted | undefined} */
  #persisted;
  /** One for each loop over the events. @type {Set<EventQueue>} */
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

  /** Fires open, or an error after which the source continues. */
  fire(type, details) {
    if (type === 'open') this.#details = details;
    this.note(type, details);
    const event = new ConnectionEvent(type, details);
    if (documentIsThere()) dispatchEvent(this.#target, event);
    return event;
  }

  /** Fires the error that ended the source, and makes loops throw it. */
  fail(details) {
    const queues = [...this.#queues];
    this.#queues.clear();
    this.end();
    const event = this.fire('error', details);
    // A loop ends normally when the stream does.
    const ended = details.reason === 'ended' || details.status === 204;
    const error = ended ? undefined : new Error(`EventSource: ${details.reason}`, { cause: event });
    for (const queue of queues) queue.end(error);
  }

  /** Ends the loops and saves the last event ID: the source is CLOSED. */
  end() {
    for (const queue of this.#queues) queue.end();
    this.#queues.clear();
    this.#persisted?.end(this.lastEventId);
  }

  /** Returns a queue of the events from now on, for a loop. Leaving the loop calls `close`. */
  iterate(closed, close) {
    const queue = new EventQueue(this.#source.buffer, close);
    if (closed) queue.end();
    else this.#queues.add(queue);
    return queue;
  }

  /**
   * Fires the events of a batch. Returns whether events are still wanted after the last one, or a promise of that. The most
   * common case, a single event, needs no promise.
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
   * A browser runs all microtasks after each listener. A script can only let those run that are already queued: a close()
   * after one await in a listener stops the next event.
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

  /** Handles a last event ID that was set without an event. */
  #endBatch({ text, table }, start) {
    const end = table[table.length - 1];
    if (end >= 0) this.lastEventId = text.slice(start, end);
    this.#persisted?.keep(this.lastEventId);
  }

  /** Whether events go to loops or functions in addition to listeners. */
  get #taps() {
    return this.#source.parse !== undefined || this.#source.onEvent !== undefined || this.#queues.size > 0;
  }

  /** Parses an event, fires it, and passes it to `onEvent` and the loops. */
  async #pass(type, data, origin, wanted) {
    const { parse, onEvent } = this.#source;
    let value = data;
    try {
      if (parse) value = parse(data, type);
    } catch (cause) {
      if (wanted()) this.fire('error', { ...this.#details, reason: 'parse', willRetry: false, cause });
      return;
    }
    if (!wanted()) return; // parse has closed the source
    const event = new StreamEvent(type, value, origin, this.lastEventId);
    dispatchEvent(this.#target, event);
    if (wanted()) this.#call(onEvent, event);
    // If a listener has closed the source, no loop is left. If it has only ended the connection, loops must get the event.
    const full = [...this.#queues].map((queue) => queue.put(event)).filter(Boolean);
    if (full.length === 0) return;
    this.waits++;
    await Promise.all(full);
    this.waits--;
  }

  /** Calls a function of the page like a listener: an exception is reported and stops nothing. */
  #call(f, value) {
    try {
      f?.(value);
    } catch (error) {
      report(error);
    }
  }
}

/** Reports an exception as uncaught. */
function report(error) {
  if (globalThis.reportError) reportError(error);
  else setTimeout(() => {
    throw error;
  });
}
