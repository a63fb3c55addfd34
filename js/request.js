// Sends the request for an event stream.

import { Body } from './body.js';
import { tag } from './tag.js';
import { queueTask } from './task.js';

/**
 * "Let request be the result of creating a potential-CORS request given urlRecord, the empty string, and
 * corsAttributeState. […] User agents may set (`Accept`, `text/event-stream`) in request's header list. Set request's
 * cache mode to 'no-store'."
 *
 * @param {string} url
 * @param {string} method the source's, or GET when it resumes
 * @param {string} lastEventId as a byte string, empty for none
 * @param {import('./init.js').Init & { url: string }} source
 * @param {object} attempt the argument of functions for headers and body
 * @param {AbortSignal} signal
 * @returns {Promise<{ response?: ReturnType<typeof read>, body?: Body, forbidden?: boolean, reason?: string, cause?: unknown }>} forbidden:
 *   the browser does not allow the request, so another attempt would fail, too
 */
export async function request(url, method, lastEventId, source, attempt, signal) {
  /** @type {RequestInit & { duplex?: string }} */
  const init = { credentials: source.credentials, cache: 'no-store', signal, referrer: source.referrer };
  let reason = 'headers';
  try {
    const headers = await given(source.headers, attempt);
    if (signal.aborted) return {};
    init.headers = headersFor(url, method, source.lastEventIdParam === '' ? lastEventId : '', source, headers);
    reason = 'body';
    if (method !== 'GET') Object.assign(init, { method, body: await given(source.body, attempt) });
    if (tag(init.body) === 'ReadableStream') init.duplex = 'half';
  } catch (cause) {
    return { reason, cause };
  }
  if (signal.aborted) return {};
  if (source.lastEventIdParam !== '') url = withParam(url, source.lastEventIdParam, lastEventId);
  const policy = watchPolicy(url);
  try {
    const send = source.fetch ?? fetch;
    const answer = await send(url, init);
    // A response from a service worker may have no body.
    const body = new Body(answer.body ?? new Response('').body, { ahead: true });
    // The option fetch may ignore the signal, or respond after it.
    const cancel = () => body.cancel();
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel);
    return { response: read(answer, url), body };
  } catch (cause) {
    const why = signal.aborted ? '' : await whyForbidden(url, source, policy, signal);
    return { forbidden: why !== '', reason: why || 'network', cause };
  } finally {
    policy.stop();
  }
}

/** Reads the members of a response. The option fetch may return any object: a member that cannot be read throws, like a network error. */
function read({ status, url, headers }, requested) {
  return {
    status: status | 0,
    url: url ? new URL(url, requested).href : '',
    headers,
    contentType: `${headers.get('Content-Type') ?? ''}`,
    retryAfter: retryAfter(headers.get('Retry-After')),
  };
}

/** Returns a value synchronously unless it is a function, so that the request is sent in the same task. */
function given(value, attempt) {
  return typeof value === 'function' ? Promise.resolve(value(attempt)) : value;
}

/**
 * Returns the headers as pairs, because a Headers object sends all names in lower case.
 *
 * The URL may be at another origin because of a redirect. The Fetch Standard removes Authorization on such a redirect, and
 * Node.js removes the other CREDENTIALS, too, so a request that goes there directly must not contain them either.
 */
function headersFor(url, method, lastEventId, source, init) {
  const redirected = new URL(url).origin !== new URL(source.url).origin;
  const headers = new Headers(init);
  if (redirected) CREDENTIALS.forEach((name) => headers.delete(name));
  if (method !== source.method) headers.delete('Content-Type'); // a GET without a body
  if (lastEventId !== '') headers.delete('Last-Event-ID');
  const pairs = [...headers];
  if (!headers.has('Accept')) pairs.push(['Accept', 'text/event-stream']);
  if (lastEventId !== '') pairs.push(['Last-Event-ID', lastEventId]);
  return pairs;
}

/** Browsers do not let a page set the last two, but other runtimes do. */
const CREDENTIALS = ['Authorization', 'Proxy-Authorization', 'Cookie'];

/** Sets a query parameter, or removes it if the value is empty. The rest of the URL stays unchanged. */
function withParam(url, name, value) {
  const { href, search, hash } = new URL(url);
  const encodedName = encodeURIComponent(name);
  const pairs = search.slice(1).split('&').filter((pair) => pair !== '' && pair.split('=')[0] !== encodedName);
  if (value !== '') pairs.push(`${encodedName}=${Array.from(value, percentEncode).join('')}`);
  const query = pairs.length > 0 ? `?${pairs.join('&')}` : '';
  return href.slice(0, href.length - hash.length - search.length) + query + hash;
}

function percentEncode(byte) {
  return /[\w.~-]/.test(byte) ? byte : `%${byte.charCodeAt().toString(16).toUpperCase().padStart(2, '0')}`;
}

/** Parses a date or a number of seconds (RFC 9110, section 10.2.3). Returns milliseconds, 0 for anything else. */
function retryAfter(value) {
  if (value === null) return 0;
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Math.min(Math.max(milliseconds || 0, 0), Number.MAX_SAFE_INTEGER);
}

// Browsers reconnect after a network error and give up when they forbid the request themselves. fetch rejects with the same
// TypeError in both cases. The following functions tell them apart as far as a script can.

async function whyForbidden(url, { fetch }, policy, signal) {
  if (isUnfetchable(url)) return 'url';
  if (await policy.blocked()) return 'csp';
  // If the page has its own fetch, do not send requests around it.
  return fetch === undefined && (await isBlockedByCORS(url, signal)) ? 'cors' : '';
}

/** Whether fetch rejects the URL for its scheme, or because it contains a user name or password. */
function isUnfetchable(url) {
  const { protocol, username, password } = new URL(url);
  return !/^(https?|data|blob|[a-z-]+-extension):$/.test(protocol) || username !== '' || password !== '';
}

/** Watches whether the page's Content-Security-Policy blocks the URL. */
export function watchPolicy(url) {
  const target = globalThis.document ?? globalThis;
  const { origin } = new URL(url);
  let violated = false;
  const listener = (event) => {
    if (event.disposition === 'enforce' && event.effectiveDirective === 'connect-src' && event.blockedURI.startsWith(origin)) {
      violated = true;
    }
  };
  target.addEventListener?.('securitypolicyviolation', listener); // Node.js has neither
  return {
    // The event is fired in a task, which may run after the rejection.
    async blocked() {
      for (let turn = 0; turn < 2 && !violated; turn++) await new Promise(queueTask);
      return violated;
    },
    stop: () => target.removeEventListener?.('securitypolicyviolation', listener),
  };
}

/**
 * Returns whether the server does not allow this origin: it answers a request without CORS, but not one with CORS. The
 * method is HEAD, so that no stream begins. A URL of the page's own origin is not checked: if it redirects to a server that
 * does not allow this origin, we reconnect where browsers give up. Node.js has no CORS.
 */
async function isBlockedByCORS(url, signal) {
  if (globalThis.process?.versions?.node || new URL(url).origin === globalThis.origin) return false;
  try {
    await fetch(url, { method: 'HEAD', mode: 'no-cors', credentials: 'omit', cache: 'no-store', signal });
    return true;
  } catch {
    return false;
  }
}
