// Formats events and requests as lines of a trace. A line leaves out what is usual: a message's origin A and state OPEN, and
// the headers that the standard requires. So anything unusual is visible, even in a scenario that is not about it.

const states = ['CONNECTING', 'OPEN', 'CLOSED'];

/** Writes one line for each event of the source. */
export function watch(source, { labels, types = [], as }, write) {
  for (const type of new Set(['open', 'message', 'error', ...types])) {
    source.addEventListener(type, (event) => {
      write((as ? `${as}: ` : '') + eventLine(event, source.readyState, labels), event);
    });
  }
}

function eventLine(event, readyState, labels) {
  const state = states[readyState];
  if (!('data' in event)) return event.type === 'open' && state === 'OPEN' ? 'open' : `${event.type} ${state}`;
  let line = `${event.type} ${text(event.data)}`;
  if (event.lastEventId !== '') line += ` id ${text(event.lastEventId)}`;
  if (event.origin !== labels.A) line += ` from ${normalise(String(event.origin), labels)}`;
  if (state !== 'OPEN') line += ` ${state}`;
  return line;
}

/** Shows long text by its length. A scenario that sends long text compares it. */
function text(value) {
  if (typeof value !== 'string') return `${typeof value} ${value}`;
  if (value.length > 200) return `of ${value.length} code units`;
  return JSON.stringify(value).replace(/[\u007f-\u009f\ufeff]/g, escape);
}

function escape(char) {
  return `\\u${char.charCodeAt().toString(16).padStart(4, '0')}`;
}

const expectedHeaders = { accept: 'text/event-stream', 'cache-control': 'no-cache', pragma: 'no-cache' };

// Headers that the standard leaves to the browser.
const browserHeaders = /^(host|connection|user-agent|accept-encoding|accept-language|referer|priority|dnt|sec-.*)$/;

// A preflight need not have the headers about caches.
const preflightHeaders = new RegExp(`${browserHeaders.source}|^(cache-control|pragma)$`);

export function requestLine({ method, origin, target, headers, body }, labels) {
  const sent = Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]));
  const unsaid = method === 'OPTIONS' ? preflightHeaders : browserHeaders;
  const lines = Object.keys({ ...expectedHeaders, ...sent })
    .filter((name) => !unsaid.test(name) && sent[name] !== expectedHeaders[name])
    .sort()
    .map((name) => ` ${name}: ${headerValue(sent[name], labels)}`);
  if (body) lines.push(` body: ${JSON.stringify(body)}`);
  return `${method} ${normalise(origin + target, labels)}${lines.join('')}`;
}

/** A header's value has a code point for each byte. The bytes are shown in hex if one is beyond ASCII. */
function headerValue(value, labels) {
  if (value === undefined) return 'missing';
  if (/^[\x20-\x7e]*$/.test(value)) return JSON.stringify(normalise(value, labels));
  return `<${Array.from(value, (byte) => byte.charCodeAt().toString(16).padStart(2, '0')).join(' ')}>`;
}

/** Replaces origins by their labels and drops the part of a stream's path that differs from run to run. */
export function normalise(string, labels) {
  for (const [label, origin] of Object.entries(labels)) string = string.replaceAll(origin, label);
  return string.replace(/\/stream\/\d+-\d+/g, '');
}
