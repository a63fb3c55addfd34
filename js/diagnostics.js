// The options `diagnostics` and `debug`: they record what a source does, without anything that must not get into a log.
// Headers, bodies, ids and data are left out, and so are the queries of URLs, which may contain tokens.

/** The details that may be recorded. */
const RECORDED = ['attempt', 'resumed', 'status', 'reason', 'willRetry', 'retryIn', 'engine'];

/** Records an entry if one of the options is set. @param {import('./init.js').Init} source */
export function note({ diagnostics, diagnosticsSize, debug }, what, details) {
  if (!diagnostics && !debug) return;
  const entry = { time: Date.now(), what, url: withoutSecrets(details.url) };
  for (const name of RECORDED) if (details[name] !== undefined) entry[name] = details[name];
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
