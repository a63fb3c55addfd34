// The option `diagnostics` records what a source does. To keep secrets out of logs, it omits headers, bodies, ids, data,
// and the queries of URLs, which may contain tokens.

/** The details that may be recorded. */
const RECORDED = ['attempt', 'resumed', 'status', 'reason', 'willRetry', 'retryIn', 'engine'];

/** @param {import('./init.js').Init} source */
export function note({ diagnostics, diagnosticsSize }, what, details) {
  if (!diagnostics) return;
  const entry = { time: Date.now(), what, url: withoutSecrets(details.url) };
  for (const name of RECORDED) if (details[name] !== undefined) entry[name] = details[name];
  if (details.cause !== undefined) entry.cause = nameOf(details.cause);
  // In a microtask, neither the function nor its exceptions can interrupt the source in the middle of a step.
  if (typeof diagnostics === 'function') queueMicrotask(() => diagnostics(entry));
  else {
    try {
      diagnostics.push(entry);
      diagnostics.splice(0, diagnostics.length - diagnosticsSize);
    } catch { // the page has frozen its array
    }
  }
}

/** Returns the name of an error. A page can throw any value, also an object whose name is not a string or cannot be read. */
function nameOf(cause) {
  try {
    if (typeof cause?.name === 'string') return cause.name;
  } catch { // the type says enough
  }
  return typeof cause;
}

function withoutSecrets(url = '') {
  try {
    const { protocol, host, pathname } = new URL(url);
    return host === '' ? protocol : `${protocol}//${host}${pathname}`;
  } catch {
    return '';
  }
}
