// Web IDL's conversion to the dictionary EventSourceInit, with our additional members. All options are converted by the
// constructor, so an invalid value makes it throw a TypeError that names the option.

import { tag } from './tag.js';
import { essenceOf } from './mime.js';

const LARGEST_MAX_EVENT_SIZE = 1024 * 1024 * 1024; // the engine's offsets have 32 bits
const LONGEST_TIME = Number.MAX_SAFE_INTEGER; // in milliseconds
const LONGEST_TIMER = 2 ** 31 - 1;

// A converter is a function of an option's value, its name, and the options that were converted before it.

function number(byDefault, least, most, isValid = Number.isFinite, kind = 'a number') {
  return (value, name) => {
    if (value === undefined || value === byDefault) return byDefault;
    if (isValid(value) && value >= least && value <= most) return value;
    throw invalid(name, `must be ${kind} from ${least} to ${most}, not ${String(value)}.`);
  };
}

const integer = (byDefault, least, most) => number(byDefault, least, most, Number.isInteger, 'an integer');

/** Returns a converter that accepts only these values. The first is the default. */
function oneOf(...values) {
  return (value = values[0], name) => {
    if (values.includes(value)) return value;
    throw invalid(name, `must be one of ${values.join(', ')}.`);
  };
}

const convertBoolean = oneOf(false, true);

function convertFunction(value, name) {
  if (value === undefined || typeof value === 'function') return value;
  throw invalid(name, 'must be a function.');
}

/** Returns a converter of lists of HTTP statuses. */
function statuses(byDefault, most, ...without) {
  return (value = byDefault, name) => {
    const list = Array.isArray(value) ? [...value] : [undefined];
    if (list.every((status) => Number.isInteger(status) && status >= 200 && status <= most && !without.includes(status))) return list;
    throw invalid(name, `must be HTTP statuses from 200 to ${most}, except ${without.join(', ')}.`);
  };
}

/** Times are in milliseconds. */
const RETRY = {
  initial: integer(1000, 1, LONGEST_TIME),
  max: integer(30_000, 1, LONGEST_TIME),
  factor: number(2, 1, 1000),
  jitter: number(1, 0, 1),
  attempts: integer(Infinity, 1, 2 ** 31 - 1),
  resetAfter: integer(5000, 0, LONGEST_TIMER),
  statuses: statuses([429, 500, 502, 503, 504], 599, 200, 204),
};

const ACCEPT = { statuses: statuses([], 299, 204, 205), contentTypes: convertTypes };

const BUFFER = { size: integer(1000, 1, 2 ** 20), full: oneOf('wait', 'oldest', 'newest') };

const PERSIST = { key: convertKey, storage: oneOf('session', 'local') };

/** The options, in the order in which they are read. */
const OPTIONS = {
  withCredentials: Boolean,
  credentials: convertCredentials,
  headers: convertHeaders,
  method: convertMethod,
  body: convertBody,
  lastEventId: convertLastEventId,
  lastEventIdParam: convertParam,
  persist: convertPersist,
  retry: convertRetry,
  idleTimeout: integer(Infinity, 1, LONGEST_TIMER),
  wake: convertBoolean,
  signal: convertSignal,
  fetch: convertFunction,
  maxEventSize: integer(16 * 1024 * 1024, 1, LARGEST_MAX_EVENT_SIZE),
  parse: convertFunction,
  onEvent: convertFunction,
  onComment: convertFunction,
  buffer: convertBuffer,
  errorBodySize: integer(0, 0, 65_536),
  diagnostics: convertDiagnostics,
  diagnosticsSize: integer(100, 1, 10_000),
  worker: convertWorker,
  shared: convertShared,
  accept: (accept = {}, name) => convertMembers(ACCEPT, accept, `${name}.`),
  flushAtEnd: convertBoolean,
  resume: oneOf('never', 'get'),
};

/**
 * @typedef {object} Init
 * @property {boolean} withCredentials
 * @property {RequestCredentials} credentials
 * @property {string} method
 * @property {BodyInit | ((attempt: object) => BodyInit | Promise<BodyInit>) | undefined} body
 * @property {boolean} once whether the request is made only once, because it is not a GET and `body` is not a function
 * @property {{ statuses: number[], contentTypes: string[] }} accept
 * @property {boolean} flushAtEnd
 * @property {'never' | 'get'} resume
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
 * @property {object[] | ((entry: object) => void) | undefined} diagnostics
 * @property {number} diagnosticsSize
 * @property {boolean | string | URL | object} worker
 * @property {boolean} shared
 * @property {number} [reconnectionTime] of the stream that a worker continues
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
  const options = convertMembers(OPTIONS, init ?? {});
  const { body, credentials, method } = options;
  options.withCredentials = credentials === 'include';
  options.once = method !== 'GET' && typeof body !== 'function';
  return options;
}

/** @returns {any} */
function convertMembers(members, from, prefix = '') {
  if (!isObject(from)) throw invalid(prefix.slice(0, -1), 'must be an object.');
  warnOfUnknown(from, Object.keys(members), prefix);
  const converted = {};
  for (const name of Object.keys(members)) converted[name] = members[name](from[name], prefix + name, converted);
  return converted;
}

function convertWorker(worker, name, { fetch }) {
  if (worker && fetch) throw invalid(name, 'cannot be used with fetch.');
  return isObject(worker) || (worker && typeof worker === 'string') ? worker : convertBoolean(worker, name);
}

function convertShared(shared, name, { fetch, method }) {
  if (shared && (fetch || method !== 'GET')) throw invalid(name, 'requires GET, and cannot be used with fetch.');
  return convertBoolean(shared, name);
}

const toCredentials = oneOf('same-origin', 'include', 'omit');

function convertCredentials(credentials, name, { withCredentials }) {
  const converted = toCredentials(credentials === undefined && withCredentials ? 'include' : credentials, name);
  if (withCredentials && converted !== 'include') throw invalid(name, `'${converted}' contradicts withCredentials.`);
  return converted;
}

/** Fetch forbids CONNECT, TRACE and TRACK, and HEAD has no stream. Like fetch, changes common methods to upper case. */
function convertMethod(method = 'GET', name) {
  const known = typeof method === 'string' && method.toUpperCase();
  if (!known || !/^[\w!#$%&'*+.^`|~-]+$/.test(method) || /^(HEAD|CONNECT|TRACE|TRACK)$/.test(known)) {
    throw invalid(name, 'must be an HTTP method except HEAD, CONNECT, TRACE and TRACK.');
  }
  return /^(DELETE|GET|OPTIONS|POST|PUT)$/.test(known) ? known : method;
}

const BODIES = ['String', 'Blob', 'File', 'FormData', 'URLSearchParams', 'ReadableStream', 'ArrayBuffer'];

function convertBody(body, name, { method }) {
  if (body === undefined || body === null) return undefined;
  if (method === 'GET') throw invalid(name, "requires a method such as 'POST'.");
  if (typeof body !== 'function' && !ArrayBuffer.isView(body) && !BODIES.includes(tag(body))) {
    throw invalid(name, `must be a ${BODIES.join(', ')}, a view of one, or a function.`);
  }
  if (body.locked) throw invalid(name, 'must not be a locked stream.');
  return body;
}

const NO_HEADERS = [];

function convertHeaders(headers = NO_HEADERS, name) {
  // A window that has gone away has no Headers.
  if (headers === NO_HEADERS || typeof headers === 'function') return headers;
  try {
    return new Headers(headers);
  } catch (error) {
    throw invalid(name, error.message);
  }
}

/** No stream can set an ID with these characters, so no server can resume from one. */
function convertLastEventId(id = '', name) {
  const string = `${id}`;
  if (/[\0\r\n]/.test(string)) throw invalid(name, 'must not contain NUL, CR or LF.');
  return string;
}

function convertSignal(signal, name) {
  if (signal === undefined || (isObject(signal) && typeof signal.aborted === 'boolean')) return signal;
  throw invalid(name, 'must be an AbortSignal.');
}

function convertBuffer(buffer = {}, name) {
  return convertMembers(BUFFER, buffer, `${name}.`);
}

function convertDiagnostics(diagnostics, name) {
  if (Array.isArray(diagnostics) ? Object.isExtensible(diagnostics) : ['undefined', 'function'].includes(typeof diagnostics)) return diagnostics;
  throw invalid(name, 'must be a function, or an array that can be written to.');
}

function convertParam(param, name) {
  if (param === undefined) return '';
  if (typeof param === 'string' && param !== '') return param;
  throw invalid(name, 'must be the name of a query parameter.');
}

/** A key alone is for sessionStorage, so that two tabs do not overwrite each other's position in the stream. */
function convertPersist(persist, name) {
  if (persist === undefined) return undefined;
  const { key, storage } = convertMembers(PERSIST, isObject(persist) ? persist : { key: persist }, `${name}.`);
  return { key, storage: `${storage}Storage` };
}

function convertKey(key) {
  if (typeof key === 'string' && key !== '') return key;
  throw invalid('persist', 'must be a key, or {key, storage}.');
}

/** Returns media types in lower case. They are compared without parameters, so they must not have any. */
function convertTypes(types = [], name) {
  const list = Array.isArray(types) ? types.map((type) => String(type).toLowerCase()) : ['?'];
  if (list.every((type) => type === essenceOf(type))) return list;
  throw invalid(name, 'must be MIME types without parameters.');
}

function convertRetry(retry, name) {
  return retry === undefined ? undefined : convertMembers(RETRY, retry, `${name}.`);
}

let warned = '';

/** Warns once for each set of unknown names. */
function warnOfUnknown(from, known, prefix) {
  const unknown = Object.keys(from).filter((name) => !known.includes(name)).map((name) => prefix + name).join(', ');
  if (unknown === '' || unknown === warned) return;
  warned = unknown;
  console.warn(`EventSource: unknown options are ignored: ${unknown}. Known: ${known.join(', ')}`);
}

const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

const invalid = (name, message) => new TypeError(`Failed to construct 'EventSource': ${name}: ${message}`);
