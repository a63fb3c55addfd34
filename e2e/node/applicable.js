// Which scenarios say nothing about an implementation outside of a browser, each with the reason. By file, or by file and
// name, which goes before the file. An empty reason means that the scenario applies.

const page = 'needs a document';
const cors = 'CORS is of browsers: outside of one, a program has no origin';
const browserHeaders = 'the headers are those of a page';
const pageEvents = "needs a page's events and storage";
const relative = 'a relative URL needs the URL of a document';
const synchronous = 'needs a synchronous request, which only pages can make';
const target = "shows the runtime's own EventTarget and Event, which implementations extend";
const cookies = 'outside of browsers, fetch keeps no cookies';
const control = "the runtime's fetch sends no header with a control character, whoever asks it to";
const zstd = 'a coding that the runtime does not ask for';

const browserOnly = {
  crossorigin: cors,
  frames: page,
  inworker: 'needs workers that have fetch, an origin and a relative URL',
  lifetime: page,
  loading: 'shows how a page loads the script and its module',
  resuming: pageEvents,
  shared: 'needs several documents of an origin',
  workers: "needs a page's workers",

  'construction/a query is encoded as the document is': page,
  'construction/the URL is converted to a string': relative,
  'construction/the URL is resolved against the document': relative,
  'construction/the base element of the document counts': page,
  'construction/the empty URL is that of the document': page,

  'futile/what the Content-Security-Policy blocks fails the connection': page,

  'handlers/a listener that throws is reported and the others are called': target,
  'handlers/a message has the members of a MessageEvent in their order, and none of its own': target,
  'handlers/a message is a MessageEvent that neither bubbles nor can be cancelled': target,
  'handlers/capturing listeners come first at the target': target,
  'handlers/microtasks run after each listener': target,

  'headers/a request to another origin names the origin and not the page': browserHeaders,
  'headers/headers are asked of another origin in a preflight': cors,
  'headers/headers that a page may not set are left out': 'outside of browsers, fetch forbids no header',
  'headers/headers that another origin does not allow fail the connection': cors,
  'headers/the request has the headers of the standard': browserHeaders,

  'idl/a source cannot be cloned': "shows the runtime's own structuredClone, to which an EventTarget is any object",
  'idl/a source has no properties of its own': target,
  'idl/a subclass is constructed and dispatches as its base does': target,

  'ids/an id of the control character 01 is sent as it is': control,
  'ids/an id of the control character 7f is sent as it is': control,

  'llm/the network wakes a POST that can resume': pageEvents,

  'options/credentials, as in {"credentials":"omit"}, decide over cookies to origin A': cookies,
  'options/credentials, as in {"credentials":"same-origin"}, decide over cookies to origin A': cookies,
  'options/credentials, as in {"credentials":"include"}, decide over cookies to origin B': cookies,
  'options/credentials, as in {"withCredentials":true,"credentials":"include"}, decide over cookies to origin B': cookies,
  'options/credentials, as in {}, decide over cookies to origin B': cookies,
  'options/events tell of the response and of the reason, and look as Event to those who do not ask': target,

  'order/a listener of one source that takes long holds the events of the other, and loses none': synchronous,
  'order/an event that is being dispatched cannot be dispatched, and can be afterwards': target,
  'order/no listener is called while another script runs': synchronous,

  'reading/onEvent is called with events of all types, behind their listeners, and what it throws stops nothing': target,

  'redirects/a redirect from a foreign origin without its consent fails the connection': cors,
  'redirects/a redirect to another origin needs its consent': cors,

  'requests/a page may set its policy in its markup': page,
  'requests/a page that tells its origin sends that': page,
  'requests/a page that tells others all sends its URL to them': page,
  'requests/a page without referrer sends none': page,
  'requests/a request is of mode cors, of no destination, and not of a user': browserHeaders,
  'requests/the referrer at another origin is the origin': page,
  'requests/the referrer is the page': page,

  'resuming/a member of the wrong type is a TypeError that names it': '',

  'responses/a stream in zstd is decoded as it arrives': zstd,
  'responses/six connections go to one server, and a source that is closed makes room': 'the limit is of browsers',
};

// What is expected of ours and of nobody else: mostly what Chromium does where the standard leaves it open.
const open = 'the standard leaves it open';
const futile = 'the standard lets a client give up on, or try again, what it knows to be futile';

const ofOurs = {
  'handlers/a message can be initialised anew once it has been dispatched': target,
  'order/the events of a chunk come before a message that one of them posts': open,
  'order/the events of a chunk come before a timer that one of them sets': open,
  'retry/a reconnection time beyond 64 bits is ignored': open,
  'retry/an empty reconnection time is the default again': open,
  'futile/a connection to about:blank fails': futile,
  'futile/a connection to ftp://127.0.0.1/ fails': futile,
  'futile/a connection to javascript:0 fails': futile,
  'futile/a connection to mailto:someone@a.example fails': futile,
  'futile/a connection to unheard-of:x fails': futile,
  'futile/a port that browsers do not connect to is tried again': futile,
  'redirects/a redirect that leads back to itself is given up after twenty and tried again': futile,
  'redirects/a redirect to a data URL is a network error and tried again': futile,
  'redirects/a redirect to a scheme that is not fetched is a network error and tried again': futile,
  'redirects/a redirect to what is no URL is a network error and tried again': futile,
};

// The files that are about the bytes of a connection, which all clients in Go are for.
const wire = ['answers', 'cuts', 'failures', 'ids', 'parsing', 'reconnection', 'retry'];

const ofGo = {
  'ids/an id of the control character 01 is sent as it is': 'net/http sends no header with a control character',
  'ids/an id of the control character 7f is sent as it is': 'net/http sends no header with a control character',
  'reconnection/a source opens before the body of its response has begun': 'shows the event open, which most clients in Go do not have',
};

/** The standard of scenarios that are not about it: they hold ours to what a browser says or has. */
const NONE = /^none\b/;

/** Why the scenario says nothing about the implementation, or an empty string. */
export function inapplicable({ file, name, only, standard }, { own, client }) {
  const id = `${file}/${name}`;
  if (!own && only === 'wasm') return 'about an addition of eventsource-wasm';
  if (!own && NONE.test(standard)) return 'the standard does not say it';
  if (!own && ofOurs[id]) return ofOurs[id];
  if (client) return wire.includes(file) ? ofGo[id] ?? '' : 'not about requests and messages alone';
  return browserOnly[id] ?? browserOnly[file] ?? '';
}

/** Keys of the tables that name no scenario. */
export function stale(catalogue) {
  const known = new Set(catalogue.flatMap(({ file, name }) => [file, `${file}/${name}`]));
  return Object.keys({ ...browserOnly, ...ofOurs, ...ofGo }).filter((key) => !known.has(key));
}

const request = /^(not awaited: )?[A-Z]+ [ABC]\b/;

// Headers that a program does not send which has no origin and no cache, and the white space before a value, which is not
// part of it (RFC 9110, 5.5).
const ofPages = / (cache-control|pragma): (missing|"[^"]*")| origin: "(A|null)"/g;
const leading = /( last-event-id: ") +/;

/** A trace with the requests as any program may make them. */
export function asProgram(trace) {
  return trace.map((line) => (request.test(line) ? line.replace(ofPages, '').replace(leading, '$1') : line));
}
