// Validates messages from other realms and copies them. Every script of the origin can post on the channel, and sharedstream.js
// relies on the shape of messages. A message of another shape is ignored. A script that posts messages of the right shape can
// disrupt sharing, just as it could close the page. The sources then use their own connections.

const MOST_ENTRIES = 100_000;
const LONGEST_NAME = 100;

/** Far greater than any real number, and small enough that counting on from it is exact. */
const LARGEST_NUMBER = 2 ** 45;

const isObject = (value) => typeof value === 'object' && value !== null;
const isString = (value) => typeof value === 'string';
const isBoolean = (value) => typeof value === 'boolean';
const isNumber = (value) => Number.isInteger(value) && value >= 0 && value <= LARGEST_NUMBER;
const isName = (value) => isString(value) && value.length <= LONGEST_NAME;
const isTime = (value) => typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
const isId = (value) => isString(value) && !/[\0\r\n]/.test(value);

// The following functions return a copy, or undefined if the value has another shape. They read arrays by index, because an
// array may have holes, or properties that hide its methods.

/** @param {(value: any) => any} copy of an element */
function listOf(value, most, copy) {
  if (!Array.isArray(value) || value.length > most) return undefined;
  const list = [];
  for (let i = 0; i < value.length; i++) {
    const element = copy(value[i]);
    if (element === undefined) return undefined;
    list.push(element);
  }
  return list;
}

const only = (is) => (value) => (is(value) ? value : undefined);

/** Copies a tuple. */
function tupleOf(value, ...copies) {
  if (!Array.isArray(value) || value.length !== copies.length) return undefined;
  const tuple = copies.map((copy, i) => copy(value[i]));
  return tuple.includes(undefined) ? undefined : tuple;
}

/** Copies the members of an object. @returns {any} */
function recordOf(value, copies) {
  if (!isObject(value)) return undefined;
  const record = {};
  for (const [name, copy] of Object.entries(copies)) {
    record[name] = copy(value[name]);
    if (record[name] === undefined && !optionals.has(copy)) return undefined;
  }
  return record;
}

const optionals = new Set();

/** Makes a member optional. A value of another shape counts as missing. */
function optional(copy) {
  const converter = (value) => copy(value);
  optionals.add(converter);
  return converter;
}

const epochOf = (value) => tupleOf(value, only(isNumber), only(isName));
const changeOf = (value) => tupleOf(value, epochOf, only(isNumber));
const positionOf = (value) => tupleOf(value, epochOf, only(isNumber), only(isId));
const headerOf = (value) => tupleOf(value, only(isString), only(isString));

/** Copies the position from which a client continues. */
export const placeOf = (value) => recordOf(value, { lastEventId: only(isId), at: optional(positionOf) });

/** Copies headers as a list of pairs, or returns undefined if they are invalid. */
export function headersOf(value) {
  const headers = listOf(value, 10_000, headerOf);
  try {
    return headers && [...new Headers(/** @type {[string, string][]} */ (headers))];
  } catch {
    return undefined;
  }
}

const errorOf = (value) => (value instanceof Error ? value : undefined);

const DETAILS = {
  url: optional(only(isString)),
  reason: optional(only(isString)),
  body: optional(only(isString)),
  status: optional(only(isTime)),
  attempt: optional(only(isTime)),
  retryIn: optional(only(isTime)),
  resumed: optional(only(isBoolean)),
  willRetry: optional(only(isBoolean)),
  headers: optional(headersOf),
  cause: optional(errorOf),
};

const detailsOf = (value) => recordOf(value, DETAILS);

function batchOf(value) {
  if (!isObject(value) || !isString(value.text)) return undefined;
  const { text, table } = value;
  if (!(Array.isArray(table) || table instanceof Int32Array) || table.length % 3 !== 1 || table.length > text.length * 3 + 3 * MOST_ENTRIES + 1) return undefined;
  const copy = new Int32Array(table.length);
  let end = 0;
  for (let i = 0; i < copy.length; i++) {
    const isLeftOut = table[i] === -1 && (i % 3 !== 1 || i === copy.length - 1); // data is never left out
    if (!isLeftOut) {
      if (!Number.isInteger(table[i]) || table[i] < end || table[i] > text.length) return undefined;
      end = table[i];
    }
    copy[i] = table[i];
  }
  return { text, table: copy };
}

const EVENTS = {
  reconnectionTime: only(isTime),
  batch: batchOf,
  origin: only(isString),
};

const CHANGE = {
  reconnectionTime: only(isTime),
  fire: only((value) => value === 'open' || value === 'error'),
  readyState: only((value) => value === 0 || value === 1 || value === 2),
  details: detailsOf,
};

function entryOf(value) {
  if (isObject(value) && value.batch !== undefined) return recordOf(value, EVENTS);
  const change = recordOf(value, CHANGE);
  return change && (change.fire === 'open') === (change.readyState === 1) ? change : undefined;
}

const BASE = {
  lastEventId: only(isId),
  open: only(isBoolean),
  opened: detailsOf,
  reconnectionTime: only(isTime),
};

const FROM = { from: only(isName), to: optional(only(isName)) };

/**
 * The version of the messages between pages. Pages of two releases can be open at once. Raise it with every change that an
 * older page would not understand: then the two do not share a connection.
 */
export const PROTOCOL = 1;

/** The members of messages, by kind. */
const KINDS = {
  join: { ...FROM, places: (value) => listOf(value, 100, placeOf) },
  have: { ...FROM, epoch: epochOf },
  want: { ...FROM, epoch: epochOf, first: only(isNumber) },
  beat: { ...FROM, epoch: epochOf, head: only(isNumber), ask: optional(only(isBoolean)) },
  bye: FROM,
  wake: FROM,
  entries: { ...FROM, epoch: epochOf, first: only(isNumber), entries: (value) => listOf(value, MOST_ENTRIES, entryOf) },
  lead: {
    ...FROM,
    history: (value) => listOf(value, 100, changeOf),
    head: only(isNumber),
    first: only(isNumber),
    start: only(isNumber),
    isOpen: only(isBoolean),
    base: (value) => recordOf(value, BASE),
    options: (value) => listOf(value, 100, only(isString)),
  },
};

/** Copies a message, or returns undefined if it has another shape. */
export function messageOf(value) {
  if (!isObject(value) || !isString(value.kind) || !Object.hasOwn(KINDS, value.kind)) return undefined;
  const message = recordOf(value, KINDS[value.kind]);
  if (!message) return undefined;
  const { history, head, first, start } = message;
  if (history && (history.length === 0 || first > head + 1 || start > head)) return undefined;
  return { kind: value.kind, ...message };
}
