// The options `diagnostics` and `debug`: what a source has done, without what must not get into a log. Headers, bodies,
// ids and data are left out, and of a URL what follows its path: servers take tokens there.

/** Of the details of an event, those that may be written down. */
const TOLD = ['attempt', 'resumed', 'status', 'reason', 'willRetry', 'retryIn', 'engine'];

/** Writes down what happened, if the page wants to know. @param {import('./init.js').Init} source */
export function note({ diagnostics, diagnosticsSize, debug }, what, details) {
  if (!diagnostics && !debug) return;
  const entry = { time: Date.now(), what, url: withoutSecrets(details.url) };
  for (const name of TOLD) if (details[name] !== undefined) entry[name] = details[name];
  if (details.cause !== undefined) entry.cause = details.cause?.name ?? typeof details.cause;
  try {
    diagnostics?.push(entry);
    diagnostics?.splice(0, diagnostics.length - diagnosticsSize);
  } catch { // the page has frozen its array meanwhile
  }
  if (debug) console.debug(`EventSource: ${what}`, entry);
}

function withoutSecrets(url = '') {
  try {
    const { protocol, host, pathname } = new URL(url);
    return host === '' ? protocol : `${protocol}//${host}${pathname}`;
  } catch {
    return '';
  }
}
