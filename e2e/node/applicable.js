// Why scenarios do not apply outside of a browser, by file, or by file and name, which takes precedence. An empty reason
// means that the scenario applies.

const page = 'needs a document';
const cors = 'CORS needs a browser: other programs have no origin';
const browserHeaders = 'shows the headers of a page';
const pageEvents = "needs a page's events and storage";
const relative = 'a relative URL needs the URL of a document';
const synchronous = 'needs a synchronous request, which only pages can make';
const target = "shows the runtime's own EventTarget and Event, which implementations extend";
const cookies = 'outside of browsers, fetch keeps no cookies';
const control = "the runtime's fetch never sends a header with a control character";
const zstd = 'the runtime does not request this coding';

const browserOnly = {
  crossorigin: cors,
  frames: page,
  inworker: 'needs workers that have fetch, an origin and a relative URL',
  lifetime: page,
  loading: 'shows how a page loads the script and its module',
  resuming: pageEvents,
  shared: 'needs several documents of an origin',
  workers: "needs a page's workers",

  "construction/the query is encoded in the document's encoding": page,
  'construction/the URL is converted to a string': relative,
  'construction/the URL is resolved against the document': relative,
  'construction/a relative URL is resolved against the base element': page,
  "construction/the empty URL resolves to the document's URL": page,

  'forbidden/a URL blocked by the Content-Security-Policy fails the connection': page,

  'handlers/an exception in a listener is reported, and the other listeners are called': target,
  'handlers/a message has the members of MessageEvent in order, and only isTrusted as its own': target,
  'handlers/message is a MessageEvent that neither bubbles nor can be canceled': target,
  'handlers/capturing listeners are called first at the target': target,
  'handlers/microtasks run after each listener': target,

  "headers/the Referer sent to another origin is the page's origin": browserHeaders,
  'headers/headers for another origin need a CORS preflight': cors,
  'headers/forbidden headers are left out': 'outside of browsers, fetch forbids no header',
  'headers/headers that the preflight response does not allow fail the connection': cors,
  'headers/the request has the standard headers': browserHeaders,

  'idl/a source cannot be cloned': "shows the runtime's own structuredClone, which takes an EventTarget for a plain object",
  'idl/a source has no own properties': target,
  'idl/a subclass can be constructed and receives messages': target,

  'ids/an id with the control character 01 is sent unchanged': control,
  'ids/an id with the control character 7f is sent unchanged': control,

  'llm/wake resumes a POST by GET when the network is back': pageEvents,

  'options/options {"credentials":"omit"} send no cookies to the same origin': cookies,
  'options/options {"credentials":"same-origin"} send cookies to the same origin': cookies,
  'options/options {"credentials":"include"} send cookies to another origin': cookies,
  'options/options {"withCredentials":true,"credentials":"include"} send cookies to another origin': cookies,
  'options/options {} send no cookies to another origin': cookies,
  'options/open and error events describe the response and reason, and are plain Events': target,

  'order/a slow listener of one source delays the events of another and loses none': synchronous,
  'order/an event cannot be dispatched again during its dispatch, but can be afterwards': target,
  'order/no listener is called while another script runs': synchronous,

  'reading/onEvent is called after the listeners of every event, and may throw': target,

  'redirects/CORS: a redirect from another origin without Access-Control-Allow-Origin fails the connection': cors,
  'redirects/CORS: a redirect to another origin without Access-Control-Allow-Origin fails the connection': cors,

  'requests/a meta element can set the referrer policy': page,
  "requests/Referrer-Policy: origin sends the page's origin": page,
  "requests/Referrer-Policy: unsafe-url sends the page's URL to another origin": page,
  'requests/Referrer-Policy: no-referrer sends no Referer': page,
  'requests/the request has mode cors, an empty destination and no user activation': browserHeaders,
  "requests/the Referer sent to another origin is the page's origin": page,
  'requests/the Referer is the URL of the page': page,

  'resuming/an option of the wrong type throws a TypeError that names it': '',

  'responses/a stream with Content-Encoding: zstd is decoded as it arrives': zstd,
  'responses/six sources connect to a server at a time, and closing one admits the next': 'only browsers have this limit',
};

// What only ours is expected to do: mostly what Chromium does where the standard leaves it open.
const open = 'the standard leaves it open';
const choice = 'the standard lets a client choose between failing and retrying here';

const ofOurs = {
  'handlers/initMessageEvent() changes a message after its dispatch, not during it': target,
  'order/all events of a chunk are dispatched before a port message that one of them posts': open,
  'order/all events of a chunk are dispatched before a timer that one of them sets': open,
  'retry/a reconnection time beyond 64 bits is ignored': open,
  'retry/an empty retry restores the default reconnection time': open,
  'forbidden/a connection to about:blank fails': choice,
  'forbidden/a connection to ftp://127.0.0.1/ fails': choice,
  'forbidden/a connection to javascript:0 fails': choice,
  'forbidden/a connection to mailto:someone@a.example fails': choice,
  'forbidden/a connection to unheard-of:x fails': choice,
  'forbidden/a connection to a blocked port is retried': choice,
  'redirects/a redirect loop is a network error after 20 redirects and is retried': choice,
  'redirects/a redirect to a data URL is a network error and is retried': choice,
  'redirects/a redirect to an unsupported scheme is a network error and is retried': choice,
  'redirects/a redirect to an invalid URL is a network error and is retried': choice,
};

// The files about the bytes of a connection, which every Go client handles.
const wire = ['answers', 'cuts', 'failures', 'ids', 'parsing', 'reconnection', 'retry'];

const ofGo = {
  'ids/an id with the control character 01 is sent unchanged': 'net/http sends no header with a control character',
  'ids/an id with the control character 7f is sent unchanged': 'net/http sends no header with a control character',
  'reconnection/a source opens when the response headers arrive, before the body': 'shows the event open, which most clients in Go do not have',
};

/** The value of "standard" in scenarios that the standard does not cover. They compare ours with a browser. */
const NONE = /^none\b/;

/** Why the scenario does not apply to the implementation, or an empty string. */
export function inapplicable({ file, name, only, standard }, { own, client }) {
  const id = `${file}/${name}`;
  if (!own && only === 'wasm') return 'about an addition of eventsource-wasm';
  if (!own && NONE.test(standard)) return 'the standard does not say it';
  if (!own && ofOurs[id]) return ofOurs[id];
  if (client) return wire.includes(file) ? ofGo[id] ?? '' : 'not about requests and messages alone';
  return browserOnly[id] ?? browserOnly[file] ?? '';
}

/** Keys of the tables that match no scenario. */
export function stale(catalogue) {
  const known = new Set(catalogue.flatMap(({ file, name }) => [file, `${file}/${name}`]));
  return Object.keys({ ...browserOnly, ...ofOurs, ...ofGo }).filter((key) => !known.has(key));
}

const request = /^(not awaited: )?[A-Z]+ [ABC]\b/;

// Headers that a program without origin and cache does not send. The white space before a value is not part of it (RFC
// 9110, 5.5).
const ofPages = / (cache-control|pragma): (missing|"[^"]*")| origin: "(A|null)"/g;
const leading = /( last-event-id: ") +/;

/** A trace without the parts of requests that only a page has. */
export function asProgram(trace) {
  return trace.map((line) => (request.test(line) ? line.replace(ofPages, '').replace(leading, '$1') : line));
}
