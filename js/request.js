// The request of an event stream. It stands here alone, and not in Go, because the first leaves while Go is on its way.

import { Body } from './body.js';
import { queueTask } from './task.js';

/**
 * "Let request be the result of creating a potential-CORS request given urlRecord, the empty string, and
 * corsAttributeState. […] User agents may set (`Accept`, `text/event-stream`) in request's header list. Set request's
 * cache mode to 'no-store'."
 *
 * @param {string} url
 * @param {string} lastEventId as a byte string, empty for none
 * @param {{ url: string, withCredentials: boolean, headers: Headers }} source
 * @param {AbortSignal} signal
 * @returns {Promise<{ response?: Response, body?: Body, futile?: boolean }>} futile: no other attempt would succeed
 */
export async function request(url, lastEventId, source, signal) {
  const policy = watchPolicy(url);
  try {
    const headers = headersFor(url, lastEventId, source);
    const credentials = source.withCredentials ? 'include' : 'same-origin';
    const response = await fetch(url, { headers, credentials, cache: 'no-store', signal });
    return { response, body: new Body(response) };
  } catch {
    return { futile: !signal.aborted && (isUnfetchable(url) || (await policy.blocked()) || (await isBlockedByCORS(url, signal))) };
  } finally {
    policy.stop();
  }
}

/**
 * The headers as pairs, since a Headers object would send the names in lower case.
 *
 * A redirect to another origin may have brought the connection there. The Fetch Standard takes Authorization away on
 * such a redirect, so it must not be in the request that goes there directly.
 */
function headersFor(url, lastEventId, source) {
  const redirected = new URL(url).origin !== new URL(source.url).origin;
  const headers = new Headers(source.headers);
  if (redirected) headers.delete('Authorization');
  if (lastEventId !== '') headers.delete('Last-Event-ID');
  const pairs = [...headers];
  if (!headers.has('Accept')) pairs.push(['Accept', 'text/event-stream']);
  if (lastEventId !== '') pairs.push(['Last-Event-ID', lastEventId]);
  return pairs;
}

// Browsers reconnect after a network error and give up when they forbid the request themselves. fetch rejects with the
// same TypeError for all of these. What follows tells them apart as far as a script can.

/** Schemes that are not fetched, and user names in the URL, which fetch refuses. */
function isUnfetchable(url) {
  const { protocol, username, password } = new URL(url);
  return !/^(https?|data|blob|[a-z-]+-extension):$/.test(protocol) || username !== '' || password !== '';
}

/** Sees whether the page's Content-Security-Policy blocks url. */
function watchPolicy(url) {
  const target = globalThis.document ?? globalThis;
  const { origin } = new URL(url);
  let violated = false;
  const listener = (event) => {
    if (event.disposition === 'enforce' && event.effectiveDirective === 'connect-src' && event.blockedURI.startsWith(origin)) {
      violated = true;
    }
  };
  target.addEventListener('securitypolicyviolation', listener);
  return {
    // The event is a task that may come after the rejection.
    async blocked() {
      for (let turn = 0; turn < 2 && !violated; turn++) await new Promise(queueTask);
      return violated;
    },
    stop: () => target.removeEventListener('securitypolicyviolation', listener),
  };
}

/**
 * A server that answers a request without CORS, and not one with it, has not allowed this origin. HEAD, so that no
 * stream begins. A URL of the page's own origin is not asked: if it is redirected to a server that does not allow this
 * origin, we reconnect where browsers give up.
 */
async function isBlockedByCORS(url, signal) {
  if (new URL(url).origin === globalThis.origin) return false;
  try {
    await fetch(url, { method: 'HEAD', mode: 'no-cors', credentials: 'omit', cache: 'no-store', signal });
    return true;
  } catch {
    return false;
  }
}
