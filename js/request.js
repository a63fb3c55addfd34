// The request of an event stream. Both lifecycles have it made here.

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
 * @param {object} attempt what a function in place of headers or of the body is told
 * @param {AbortSignal} signal
 * @returns {Promise<{ response?: Response, body?: Body, futile?: boolean, reason?: string, cause?: unknown }>} futile: no
 *   other attempt would succeed
 */
export async function request(url, method, lastEventId, source, attempt, signal) {
  /** @type {RequestInit & { duplex?: string }} */
  const init = { credentials: source.credentials, cache: 'no-store', signal, referrer: source.referrer };
  let reason = 'headers';
  try {
    const headers = await given(source.headers, attempt);
    init.headers = headersFor(url, method, source.lastEventIdParam === '' ? lastEventId : '', source, headers);
    reason = 'body';
    if (method !== 'GET') Object.assign(init, { method, body: await given(source.body, attempt) });
    if (tag(init.body) === 'ReadableStream') init.duplex = 'half';
  } catch (cause) {
    return { reason, cause };
  }
  if (source.lastEventIdParam !== '') url = withParam(url, source.lastEventIdParam, lastEventId);
  const policy = watchPolicy(url);
  try {
    const send = source.fetch ?? fetch;
    const response = await send(url, init);
    // A service worker can answer without a body.
    const body = new Body(response.body ?? new Response('').body, { ahead: true });
    // The page's own fetch may not know the signal, or have answered after it.
    const cancel = () => body.cancel();
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel);
    return { response, body };
  } catch (cause) {
    const futile = signal.aborted ? '' : await whyFutile(url, source, policy, signal);
    return { futile: futile !== '', reason: futile || 'network', cause };
  } finally {
    policy.stop();
  }
}

/** Without waiting where there is nothing to wait for: the request leaves in the task that it is made in. */
function given(value, attempt) {
  return typeof value === 'function' ? Promise.resolve(value(attempt)) : value;
}

/**
 * The headers as pairs, since a Headers object would send the names in lower case.
 *
 * A redirect to another origin may have brought the connection there. The Fetch Standard takes Authorization away on
 * such a redirect, so it must not be in the request that goes there directly.
 */
function headersFor(url, method, lastEventId, source, init) {
  const redirected = new URL(url).origin !== new URL(source.url).origin;
  const headers = new Headers(init);
  if (redirected) headers.delete('Authorization');
  if (method !== source.method) headers.delete('Content-Type'); // of the body that it has no more
  if (lastEventId !== '') headers.delete('Last-Event-ID');
  const pairs = [...headers];
  if (!headers.has('Accept')) pairs.push(['Accept', 'text/event-stream']);
  if (lastEventId !== '') pairs.push(['Last-Event-ID', lastEventId]);
  return pairs;
}

/** The URL with that parameter last in its query, or without it if the value is empty. All else stays as it is written. */
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

/** RFC 9110, section 10.2.3: a date or a number of seconds. Returns milliseconds, 0 for what is neither. */
export function retryAfter(value) {
  if (value === null) return 0;
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Math.min(Math.max(milliseconds || 0, 0), Number.MAX_SAFE_INTEGER);
}

// Browsers reconnect after a network error and give up when they forbid the request themselves. fetch rejects with the
// same TypeError for all of these. What follows tells them apart as far as a script can.

async function whyFutile(url, { fetch }, policy, signal) {
  if (isUnfetchable(url)) return 'url';
  if (await policy.blocked()) return 'csp';
  // What a fetch of the page's own does is not ours to find out.
  return fetch === undefined && (await isBlockedByCORS(url, signal)) ? 'cors' : '';
}

/** Schemes that are not fetched, and user names in the URL, which fetch refuses. */
function isUnfetchable(url) {
  const { protocol, username, password } = new URL(url);
  return !/^(https?|data|blob|[a-z-]+-extension):$/.test(protocol) || username !== '' || password !== '';
}

/** Sees whether the page's Content-Security-Policy blocks url. */
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
    // The event is a task that may come after the rejection.
    async blocked() {
      for (let turn = 0; turn < 2 && !violated; turn++) await new Promise(queueTask);
      return violated;
    },
    stop: () => target.removeEventListener?.('securitypolicyviolation', listener),
  };
}

/**
 * A server that answers a request without CORS, and not one with it, has not allowed this origin. HEAD, so that no
 * stream begins. A URL of the page's own origin is not asked: if it is redirected to a server that does not allow this
 * origin, we reconnect where browsers give up. Node.js knows no CORS.
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
