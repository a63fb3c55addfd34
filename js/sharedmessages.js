// Whether a message from another realm has the shape that sharedstream.js relies on. Every script of the origin can post
// on the channel. One that posts what has the right shape can also do all else that the page can; one that posts anything
// else, by accident or of another version, changes nothing.

const MOST_ENTRIES = 100_000;
const LONGEST_NAME = 100;

const isObject = (value) => typeof value === 'object' && value !== null;
const isString = (value) => typeof value === 'string';
const isNumber = (value) => Number.isSafeInteger(value) && value >= 0;
const isName = (value) => isString(value) && value.length <= LONGEST_NAME;
const isTime = (value) => typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
const isId = (value) => isString(value) && !/[\0\r\n]/.test(value);
const isEpoch = (value) => Array.isArray(value) && value.length === 2 && isNumber(value[0]) && isName(value[1]);
const isChange = (value) => Array.isArray(value) && value.length === 2 && isEpoch(value[0]) && isNumber(value[1]);
const isPosition = (value) => Array.isArray(value) && value.length === 3 && isEpoch(value[0]) && isNumber(value[1]) && isId(value[2]);
const isOptional = (is, value) => value === undefined || is(value);
const isList = (is, most, value) => Array.isArray(value) && value.length <= most && value.every(is);

/** Where a client goes on. */
export const isPlace = (value) => isObject(value) && isId(value.lastEventId) && isOptional(isPosition, value.at);

/** By kind, what a message has beside that. */
const KINDS = {
  join: ({ places }) => isList(isPlace, 100, places),
  have: ({ epoch }) => isEpoch(epoch),
  want: ({ epoch, first }) => isEpoch(epoch) && isNumber(first),
  beat: ({ epoch, head }) => isEpoch(epoch) && isNumber(head),
  bye: () => true,
  wake: () => true,
  entries: ({ epoch, first, entries }) => isEpoch(epoch) && isNumber(first) && isList(isEntry, MOST_ENTRIES, entries),
  lead: ({ history, head, first, start, isOpen, base, options }) =>
    typeof isOpen === 'boolean' && isList(isString, 100, options) && isList(isChange, 100, history) && history.length > 0 && isNumber(head) && isNumber(first) && isNumber(start) && first <= head + 1 && start <= head && isBase(base),
};

export function isMessage(value) {
  if (!isObject(value) || !isName(value.from) || !isOptional(isName, value.to)) return false;
  return Object.hasOwn(KINDS, value.kind) && KINDS[value.kind](value);
}

function isEntry(value) {
  if (!isObject(value) || !isTime(value.reconnectionTime)) return false;
  if (value.batch !== undefined) return isBatch(value.batch) && isString(value.origin);
  if (!isDetails(value.details)) return false;
  return value.fire === 'open' ? value.readyState === 1 : value.fire === 'error' && (value.readyState === 0 || value.readyState === 2);
}

function isBatch(value) {
  if (!isObject(value) || !isString(value.text)) return false;
  const { text, table } = value;
  if (!(Array.isArray(table) || table instanceof Int32Array) || table.length % 3 !== 1) return false;
  let end = 0;
  for (let i = 0; i < table.length; i++) {
    const isLeftOut = table[i] === -1 && (i % 3 !== 1 || i === table.length - 1); // data is always there
    if (isLeftOut) continue;
    if (!Number.isInteger(table[i]) || table[i] < end || table[i] > text.length) return false;
    end = table[i];
  }
  return true;
}

function isBase(value) {
  return isObject(value) && isId(value.lastEventId) && typeof value.open === 'boolean' && isTime(value.reconnectionTime) && isDetails(value.opened);
}

const STRINGS = ['url', 'reason', 'body'];
const NUMBERS = ['status', 'attempt', 'retryIn'];
const BOOLEANS = ['resumed', 'willRetry'];

/** What an event tells. Headers have to be such that a page can make them again. */
function isDetails(value) {
  if (!isObject(value)) return false;
  if (!STRINGS.every((name) => isOptional(isString, value[name])) || !NUMBERS.every((name) => isOptional(isTime, value[name]))) return false;
  if (!BOOLEANS.every((name) => isOptional((boolean) => typeof boolean === 'boolean', value[name]))) return false;
  if (value.headers === undefined) return true;
  try {
    return Array.isArray(value.headers) && Boolean(new Headers(value.headers));
  } catch {
    return false;
  }
}
