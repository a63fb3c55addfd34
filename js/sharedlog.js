// The log of a shared stream: its recent events in order, for pages that join with a last event ID, for slow pages, and for the
// next leader.

import { costOf, MESSAGE } from './lag.js';

/** The size of a log, by sizeOf. Pages that need older entries continue over their own connections. */
const LARGEST_LOG = 4 * 1024 * 1024;

/** How many changes of the leader a history holds. */
const LONGEST_HISTORY = 32;

/** The state before the first entry of a new stream. */
export const NOTHING_YET = { lastEventId: '', open: false, opened: {}, reconnectionTime: 3000 };

/**
 * Entries are numbered from 1. An entry is `{ batch, origin }`, the arguments of Delivery.take, or `{ fire, details, readyState }`.
 * The log adds the state after it: `lastEventId`, `reconnectionTime`, `open`, and `opened`, the details of the last response.
 */
export class Log {
  /** The state before the first entry. */
  base = NOTHING_YET;
  /** The number of the first entry. */
  first = 1;
  #entries = [];
  #size = 0;
  #limit;

  constructor(limit = LARGEST_LOG) {
    this.#limit = limit;
  }

  /** The number of the last entry, or `first - 1` if there is none. */
  get head() {
    return this.first + this.#entries.length - 1;
  }

  /** Removes all entries. The next one has the number `head + 1`. */
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

  /** Returns the state after the entry, which may be the one before the first. */
  after(number) {
    return this.at(number) ?? this.base;
  }

  /** Whether a client that has this entry can continue. */
  knows(number) {
    return number >= this.first - 1 && number <= this.head;
  }

  /** Removes the entries after this one. */
  truncate(number) {
    for (const entry of this.#entries.splice(number - this.first + 1)) this.#size -= sizeOf(entry);
  }

  /**
   * Finds the position after the event with the ID: the number of an entry, and how many numbers of its table to skip. If the ID
   * occurs more than once, the last one counts.
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

/** Returns the state after an entry. */
export const stateOf = ({ lastEventId, open, opened, reconnectionTime }) => ({ lastEventId, open, opened, reconnectionTime });

/** Returns the size of an entry in UTF-16 code units. A number of the table counts as two. @param {{ batch?: any, details?: any }} entry */
export function sizeOf({ batch, details }) {
  if (batch) return costOf(batch) + 2 * batch.table.length;
  const headers = details?.headers?.reduce((sum, [name, value]) => sum + name.length + value.length, 0) ?? 0;
  return MESSAGE + headers + (details?.body?.length ?? 0);
}

/** Returns how many numbers of the table belong to events up to the last one with that ID, or 0. */
function rowsUntil({ text, table }, id) {
  for (let row = table.length - 4; row >= 0; row -= 3) {
    if (table[row + 2] >= 0 && text.slice(table[row + 1], table[row + 2]) === id) return row + 3;
  }
  return 0;
}

/** Returns the batch without the first `rows` numbers of its table, and without their text. */
export function restOf({ text, table }, rows) {
  const start = Math.max(table[rows - 1], table[rows - 2]);
  return { text: text.slice(start), table: Array.from(table.slice(rows), (end) => (end < 0 ? end : end - start)) };
}

/** Returns the last ID in a batch, or undefined. */
export function lastIdOf({ text, table }) {
  const rows = table.length - 1;
  if (table[rows] >= 0) return text.slice(Math.max(table[rows - 1] ?? 0, table[rows - 2] ?? 0), table[rows]);
  for (let row = rows - 3; row >= 0; row -= 3) {
    if (table[row + 2] >= 0) return text.slice(table[row + 1], table[row + 2]);
  }
  return undefined;
}

/**
 * Whether the first epoch is newer. A history is a list of `[epoch, number]`, with the number of each epoch's first entry. An
 * epoch is `[count, node]`; if the counts are equal, the greater node is newer.
 *
 * @param {any[]} epoch
 * @param {any[]} other
 */
export function isNewer([count, node], [otherCount, otherNode]) {
  return count > otherCount || (count === otherCount && node > otherNode);
}

const isSame = ([count, node], [otherCount, otherNode]) => count === otherCount && node === otherNode;

/** Returns the history with another epoch. Removes epochs that begin after it: this log never had their entries. */
export function extended(history, epoch, number) {
  return [...history.filter(([, first]) => first <= number), [epoch, number]].slice(-LONGEST_HISTORY);
}

/** Returns the number of the last entry that two logs have in common, or undefined if their histories share no epoch. */
export function common(history, head, otherHistory, otherHead) {
  for (let i = history.length - 1; i >= 0; i--) {
    const j = otherHistory.findIndex(([epoch]) => isSame(epoch, history[i][0]));
    if (j >= 0) return Math.min(endOf(history, i, head), endOf(otherHistory, j, otherHead));
  }
  return undefined;
}

const endOf = (history, i, head) => Math.min(head, i + 1 < history.length ? history[i + 1][1] - 1 : head);

/** Whether a log with this history has the entry `[epoch, number]`. */
export function includes(history, head, [epoch, number]) {
  return number <= (common([[epoch, number]], number, history, head) ?? -1);
}
