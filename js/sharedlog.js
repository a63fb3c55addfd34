// What a shared stream has brought, in order: for those who join it with a last event ID, for those who are slow, and for
// whoever takes over.

import { costOf, MESSAGE } from './lag.js';

/** How much a log holds, in UTF-16 code units or the like. Pages that need older entries continue over their own connection. */
const LARGEST_LOG = 4 * 1024 * 1024;

/** How many changes of the leader are remembered. */
const LONGEST_HISTORY = 32;

/** What holds before anything has happened. */
export const NOTHING_YET = { lastEventId: '', open: false, opened: {}, reconnectionTime: 3000 };

/**
 * Entries are numbered from 1. Each is `{ batch, origin }`, events as Delivery.take has them, or `{ fire, details, readyState }`.
 * The log adds what holds after it: `lastEventId`, `reconnectionTime`, `open`, and `opened`, the details of the last response.
 */
export class Log {
  /** What holds before the first entry. */
  base = NOTHING_YET;
  /** The number of the first entry. */
  first = 1;
  #entries = [];
  #size = 0;
  #limit;

  constructor(limit = LARGEST_LOG) {
    this.#limit = limit;
  }

  /** The number of the last entry, or of the one before the first. */
  get head() {
    return this.first + this.#entries.length - 1;
  }

  /** Forgets everything: the next entry follows the one with this number. */
  reset(head, base) {
    this.first = head + 1;
    this.base = base;
    this.#entries = [];
    this.#size = 0;
  }

  append({ batch, origin, fire, details, readyState, reconnectionTime }) {
    const { lastEventId, open, opened } = this.after(this.head);
    const entry = batch
      ? { batch, origin, reconnectionTime, lastEventId: lastIdOf(batch) ?? lastEventId, open, opened }
      : { fire, details, readyState, reconnectionTime, lastEventId, open: fire === 'open', opened: fire === 'open' ? details : opened };
    this.#entries.push(entry);
    this.#size += sizeOf(entry);
    while (this.#size > this.#limit && this.#entries.length > 1) this.#dropFirst();
    return this.head;
  }

  #dropFirst() {
    const entry = this.#entries.shift();
    this.base = stateOf(entry);
    this.#size -= sizeOf(entry);
    this.first++;
  }

  at(number) {
    return this.#entries[number - this.first];
  }

  /** What holds after the entry, which may be the one before the first. */
  after(number) {
    return this.at(number) ?? this.base;
  }

  /** Whether it can go on from that entry. */
  knows(number) {
    return number >= this.first - 1 && number <= this.head;
  }

  /** Forgets what comes after the entry. */
  truncate(number) {
    for (const entry of this.#entries.splice(number - this.first + 1)) this.#size -= sizeOf(entry);
  }

  /**
   * Finds where a stream that has come to the ID goes on: the number of an entry, and how many numbers of its table are
   * before that. The newest place, should an ID have come twice.
   */
  find(id, from = this.first) {
    for (let number = this.head; number >= from; number--) {
      const { batch, lastEventId } = this.at(number);
      if (!batch) continue;
      const rows = rowsUntil(batch, id);
      if (rows > 0) return { number, rows };
      if (lastEventId === id && this.after(number - 1).lastEventId !== id) return { number: number + 1, rows: 0 };
    }
    return from === this.first && this.base.lastEventId === id ? { number: this.first, rows: 0 } : undefined;
  }
}

/** What holds after an entry. */
export const stateOf = ({ lastEventId, open, opened, reconnectionTime }) => ({ lastEventId, open, opened, reconnectionTime });

/** What an entry takes, in UTF-16 code units: a number of the table takes two. @param {{ batch?: any, details?: any }} entry */
export function sizeOf({ batch, details }) {
  if (batch) return costOf(batch) + 2 * batch.table.length;
  const headers = details?.headers?.reduce((sum, [name, value]) => sum + name.length + value.length, 0) ?? 0;
  return MESSAGE + headers + (details?.body?.length ?? 0);
}

/** How many numbers of the table are before the end of the last event with that ID, or 0. */
function rowsUntil({ text, table }, id) {
  for (let row = table.length - 4; row >= 0; row -= 3) {
    if (table[row + 2] >= 0 && text.slice(table[row + 1], table[row + 2]) === id) return row + 3;
  }
  return 0;
}

/** What of a batch comes after so many numbers of its table. */
export function restOf({ text, table }, rows) {
  const start = Math.max(table[rows - 1], table[rows - 2]);
  return { text: text.slice(start), table: Array.from(table.slice(rows), (end) => (end < 0 ? end : end - start)) };
}

/** The last ID in a batch, or undefined. */
export function lastIdOf({ text, table }) {
  const rows = table.length - 1;
  if (table[rows] >= 0) return text.slice(Math.max(table[rows - 1] ?? 0, table[rows - 2] ?? 0), table[rows]);
  for (let row = rows - 3; row >= 0; row -= 3) {
    if (table[row + 2] >= 0) return text.slice(table[row + 1], table[row + 2]);
  }
  return undefined;
}

/**
 * A history is a list of `[epoch, number]`: who led from that entry on. An epoch is `[count, node]`; of two with the same
 * count, the node decides.
 *
 * @param {any[]} epoch
 * @param {any[]} other
 */
export function isNewer([count, node], [otherCount, otherNode]) {
  return count > otherCount || (count === otherCount && node > otherNode);
}

const isSame = ([count, node], [otherCount, otherNode]) => count === otherCount && node === otherNode;

/** The history with another epoch. One that begins later has never been here: this log was behind. */
export function extended(history, epoch, number) {
  return [...history.filter(([, first]) => first <= number), [epoch, number]].slice(-LONGEST_HISTORY);
}

/** The last entry that two logs have in common by their histories, or undefined if none is known to be. */
export function common(history, head, otherHistory, otherHead) {
  for (let i = history.length - 1; i >= 0; i--) {
    const j = otherHistory.findIndex(([epoch]) => isSame(epoch, history[i][0]));
    if (j >= 0) return Math.min(endOf(history, i, head), endOf(otherHistory, j, otherHead));
  }
  return undefined;
}

const endOf = (history, i, head) => Math.min(head, i + 1 < history.length ? history[i + 1][1] - 1 : head);

/** Whether a log with that history has the entry that a client has come to: `[epoch, number]`. */
export function includes(history, head, [epoch, number]) {
  return number <= (common([[epoch, number]], number, history, head) ?? -1);
}
