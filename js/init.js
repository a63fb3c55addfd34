// Web IDL's conversion to the dictionary EventSourceInit, with the members that are ours. Each is converted when the
// source is constructed, so a value that is of no use is the constructor's TypeError, which names it.

const DEFAULT_MAX_EVENT_SIZE = 16 * 1024 * 1024;
const LARGEST_MAX_EVENT_SIZE = 1024 * 1024 * 1024; // offsets in the engine have 32 bits
const LONGEST_TIME = Number.MAX_SAFE_INTEGER; // in milliseconds
const LONGEST_TIMER = 2 ** 31 - 1;

/** The members of `retry`, with their defaults, ranges and whether they are integers. Times are in milliseconds. */
const RETRY = {
  initial: { value: 1000, least: 1, most: LONGEST_TIME, integer: true },
  max: { value: 30_000, least: 1, most: LONGEST_TIME, integer: true },
  factor: { value: 2, least: 1, most: 1000 },
  jitter: { value: 1, least: 0, most: 1 },
  attempts: { value: Infinity, least: 1, most: 2 ** 31 - 1, integer: true },
  resetAfter: { value: 5000, least: 0, most: LONGEST_TIMER, integer: true },
};
const RETRIED_STATUSES = [429, 500, 502, 503, 504];

/** All names that mean something, for those that do not. */
const MEMBERS =
  'withCredentials, credentials, headers, method, body, lastEventId, lastEventIdParam, persist, retry, idleTimeout, wake, signal, ' +
  'fetch, maxEventSize, parse, onEvent, onComment, buffer, errorBodySize, diagnostics, diagnosticsSize, debug, worker';

/**
 * @typedef {object} Init
 * @property {boolean} withCredentials
 * @property {RequestCredentials} credentials
 * @property {string} method
 * @property {BodyInit | ((attempt: object) => BodyInit | Promise<BodyInit>) | undefined} body
 * @property {boolean} once whether there is but one attempt, since its body is gone with it
 * @property {Headers | ((attempt: object) => HeadersInit | Promise<HeadersInit>)} headers
 * @property {number} maxEventSize
 * @property {string} lastEventId
 * @property {AbortSignal | undefined} signal
 * @property {typeof globalThis.fetch | undefined} fetch
 * @property {number} idleTimeout
 * @property {string} lastEventIdParam
 * @property {((data: string, type: string) => unknown) | undefined} parse
 * @property {((event: MessageEvent) => void) | undefined} onEvent
 * @property {((text: string) => void) | undefined} onComment
 * @property {{ size: number, full: 'wait' | 'oldest' | 'newest' }} buffer
 * @property {number} errorBodySize
 * @property {object[] | undefined} diagnostics
 * @property {number} diagnosticsSize
 * @property {boolean} debug
 * @property {boolean | string | URL | TrustedScriptURL} worker
 * @property {string} [referrer] of the page, in its worker
 * @property {boolean} wake
 * @property {{ key: string, storage: 'sessionStorage' | 'localStorage' } | undefined} persist
 * @property {Record<string, number> & { statuses: number[] } | undefined} retry
 */

/** @returns {Init} */
export function convertInit(init) {
  if (!isObject(init) && init !== null && init !== undefined) {
    throw new TypeError("Failed to construct 'EventSource': The provided value is not of type 'EventSourceInit'.");
  }
  const credentials = convertCredentials(init?.credentials, Boolean(init?.withCredentials));
  const method = convertMethod(init?.method);
  const body = convertBody(init?.body, method);
  warnOfUnknown(init, MEMBERS);
  return {
    withCredentials: credentials === 'include',
    credentials,
    method,
    body,
    once: body !== undefined && typeof body !== 'function',
    headers: convertHeaders(init?.headers),
    maxEventSize: convertNumber('maxEventSize', init?.maxEventSize, {
      value: DEFAULT_MAX_EVENT_SIZE,
      least: 1,
      most: LARGEST_MAX_EVENT_SIZE,
      integer: true,
    }),
    lastEventId: convertLastEventId(init?.lastEventId),
    signal: convertSignal(init?.signal),
    fetch: convertFunction('fetch', init?.fetch),
    parse: convertFunction('parse', init?.parse),
    onEvent: convertFunction('onEvent', init?.onEvent),
    onComment: convertFunction('onComment', init?.onComment),
    buffer: convertBuffer(init?.buffer),
    errorBodySize: convertNumber('errorBodySize', init?.errorBodySize, { value: 0, least: 0, most: 65_536, integer: true }),
    diagnostics: convertDiagnostics(init?.diagnostics),
    diagnosticsSize: convertNumber('diagnosticsSize', init?.diagnosticsSize, { value: 100, least: 1, most: 10_000, integer: true }),
    debug: convertBoolean('debug', init?.debug),
    worker: convertWorker(init?.worker, init?.fetch),
    idleTimeout: convertNumber('idleTimeout', init?.idleTimeout, { value: Infinity, least: 1, most: LONGEST_TIMER, integer: true }),
    lastEventIdParam: convertParam(init?.lastEventIdParam),
    retry: convertRetry(init?.retry),
    wake: convertBoolean('wake', init?.wake),
    persist: convertPersist(init?.persist),
  };
}

function convertWorker(worker, fetch) {
  if (worker && fetch !== undefined) throw invalid('worker', 'excludes fetch.');
  return isObject(worker) || typeof worker === 'string' ? worker : convertBoolean('worker', worker);
}

function convertCredentials(credentials, withCredentials) {
  if (credentials === undefined) return withCredentials ? 'include' : 'same-origin';
  if (!['omit', 'same-origin', 'include'].includes(credentials)) throw invalid('credentials', "must be 'omit', 'same-origin' or 'include'.");
  if (withCredentials && credentials !== 'include') throw invalid('credentials', `'${credentials}' contradicts withCredentials.`);
  return credentials;
}

/** Fetch forbids CONNECT, TRACE and TRACK, and HEAD has no stream. It takes the other common ones in lower case, too. */
function convertMethod(method = 'GET') {
  const known = typeof method === 'string' && method.toUpperCase();
  if (!known || !/^[\w!#$%&'*+.^`|~-]+$/.test(method) || ['HEAD', 'CONNECT', 'TRACE', 'TRACK'].includes(known)) {
    throw invalid('method', 'must be an HTTP method, and not HEAD, CONNECT, TRACE or TRACK.');
  }
  return ['DELETE', 'GET', 'OPTIONS', 'POST', 'PUT'].includes(known) ? known : method;
}

const BODIES = ['String', 'Blob', 'File', 'FormData', 'URLSearchParams', 'ReadableStream', 'ArrayBuffer'];

function convertBody(body, method) {
  if (body === undefined || body === null) return undefined;
  if (method === 'GET') throw invalid('body', "needs a method that has one, such as 'POST'.");
  if (typeof body !== 'function' && !ArrayBuffer.isView(body) && !BODIES.includes(tag(body))) {
    throw invalid('body', `must be a ${BODIES.join(', ')}, view of one, or a function.`);
  }
  if (body.locked) throw invalid('body', 'is a stream that is locked.');
  return body;
}

function convertHeaders(headers) {
  if (typeof headers === 'function') return headers;
  try {
    return new Headers(headers);
  } catch (error) {
    throw invalid('headers', error.message);
  }
}

/** A stream cannot give a source an ID with these, so none can be resumed from. */
function convertLastEventId(id = '') {
  const string = `${id}`;
  if (/[\0\r\n]/.test(string)) throw invalid('lastEventId', 'must not contain NUL, CR or LF.');
  return string;
}

function convertSignal(signal) {
  if (signal === undefined || (isObject(signal) && typeof signal.aborted === 'boolean')) return signal;
  throw invalid('signal', 'must be an AbortSignal.');
}

function convertFunction(name, value) {
  if (value === undefined || typeof value === 'function') return value;
  throw invalid(name, 'must be a function.');
}

function convertBuffer(buffer = {}) {
  if (!isObject(buffer)) throw invalid('buffer', 'must be an object.');
  warnOfUnknown(buffer, 'size, full', 'buffer.');
  const { full = 'wait' } = buffer;
  if (!['wait', 'oldest', 'newest'].includes(full)) throw invalid('buffer.full', "must be 'wait', 'oldest' or 'newest'.");
  return { full, size: convertNumber('buffer.size', buffer.size, { value: 1000, least: 1, most: 2 ** 20, integer: true }) };
}

function convertDiagnostics(diagnostics) {
  if (diagnostics === undefined || Array.isArray(diagnostics)) return diagnostics;
  throw invalid('diagnostics', 'must be an array, which is written to.');
}

function convertParam(name) {
  if (name === undefined) return '';
  if (typeof name === 'string' && name !== '') return name;
  throw invalid('lastEventIdParam', 'must be the name of a query parameter.');
}

function convertBoolean(name, value = false) {
  if (typeof value === 'boolean') return value;
  throw invalid(name, 'must be true or false.');
}

/** A key alone is one of the tab's own storage, so that two tabs do not take each other's place in the stream. */
function convertPersist(persist) {
  if (persist === undefined) return undefined;
  const { key, storage = 'session' } = typeof persist === 'string' ? { key: persist } : (persist ?? {});
  if (typeof key !== 'string' || key === '') throw invalid('persist', 'must be a key, or {key, storage}.');
  warnOfUnknown(persist, 'key, storage', 'persist.');
  if (storage !== 'session' && storage !== 'local') throw invalid('persist.storage', "must be 'session' or 'local'.");
  return { key, storage: `${storage}Storage` };
}

function convertRetry(retry) {
  if (retry === undefined) return undefined;
  if (!isObject(retry)) throw invalid('retry', 'must be an object.');
  warnOfUnknown(retry, `${Object.keys(RETRY).join(', ')}, statuses`, 'retry.');
  const converted = { statuses: convertStatuses(retry.statuses) };
  for (const [name, range] of Object.entries(RETRY)) converted[name] = convertNumber(`retry.${name}`, retry[name], range);
  return converted;
}

function convertStatuses(statuses = RETRIED_STATUSES) {
  const list = Array.isArray(statuses) ? [...statuses] : [undefined];
  if (list.every((status) => Number.isInteger(status) && status >= 200 && status <= 599 && status !== 204)) return list;
  throw invalid('retry.statuses', 'must be an array of HTTP statuses, without 204, which ends a source.');
}

function convertNumber(name, number, { value, least, most, integer = false }) {
  if (number === undefined || number === value) return value;
  if (typeof number === 'number' && number >= least && number <= most && (!integer || Number.isInteger(number))) return number;
  throw invalid(name, `must be ${integer ? 'an integer' : 'a number'} from ${least} to ${most}, not ${String(number)}.`);
}

let warned = '';

/** One line for each set of names, however many sources are given it. */
function warnOfUnknown(init, members, option = '') {
  const known = members.split(', ');
  const unknown = isObject(init) ? Object.keys(init).filter((name) => !known.includes(name)).map((name) => option + name).join(', ') : '';
  if (unknown === '' || unknown === warned) return;
  warned = unknown;
  console.warn(`EventSource: options that are ignored: ${unknown}. There are: ${members}`);
}

/** What something is, of whatever realm. */
export const tag = (value) => Object.prototype.toString.call(value).slice(8, -1);

const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

const invalid = (name, message) => new TypeError(`Failed to construct 'EventSource': ${name}: ${message}`);
