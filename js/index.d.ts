declare global {
  /**
   * The URL of eventsource.wasm. Default: beside the script. With `null` the module is never loaded, and the script runs all
   * sources. Set it before the first stream opens.
   */
  var EVENTSOURCE_WASM_URL: string | URL | null | undefined;
}

/** The options of {@link EventSource}. Without options it behaves like the browser's own. */
export interface EventSourceInit {
  /** Whether to send cookies and other credentials to other origins. Default: false. */
  withCredentials?: boolean;

  /** Where to send cookies and other credentials. Default: `same-origin`, or `include` with `withCredentials`. */
  credentials?: RequestCredentials;

  /**
   * The method of every request, except `HEAD`, `CONNECT`, `TRACE` and `TRACK`. After a redirect, a source with a method other
   * than `GET` reconnects to its original URL, because the redirect may have turned the request into a `GET`. Default: `GET`.
   */
  method?: string;

  /**
   * The request's body. `method` must not be `GET`.
   *
   * A value is sent once, and without a value the request is made once: the source ends with its stream, and fails for good
   * if the connection breaks, unless `resume` is set. A function is called before every request, so the request can be
   * repeated. If it throws or rejects, an error event with the reason `body` follows, and the source tries again.
   */
  body?: BodyInit | null | ((attempt: Attempt) => BodyInit | Promise<BodyInit>);

  /**
   * The headers of every request, such as `Authorization`. They are copied when the source is constructed. A function is
   * called before every request. If it throws, rejects or returns invalid headers, an error event with the reason `headers`
   * follows, and the source tries again.
   *
   * `Accept` defaults to `text/event-stream`. `Last-Event-ID` is replaced as soon as the stream has an id. Other origins
   * must allow the headers by CORS. A redirect to another origin drops `Authorization`.
   */
  headers?: HeadersInit | ((attempt: Attempt) => HeadersInit | Promise<HeadersInit>);

  /**
   * How a source with a method other than `GET` resumes. With `get`, a request that has a last event ID is a `GET` without a
   * body, to the URL that the first request was redirected to. Without a last event ID the source cannot resume. A source
   * that starts with one, from `lastEventId` or `persist`, starts with `GET`. Default: `never`.
   */
  resume?: 'never' | 'get';

  /**
   * Whether to deliver a last event that has no blank line after it. The standard discards it. An event that a broken
   * connection cut off is always discarded. Default: false.
   */
  flushAtEnd?: boolean;

  /** Responses to accept in addition to status 200 with type `text/event-stream`. */
  accept?: Accept;

  /** The maximum size of an event in bytes, from 1 to 1073741824. A larger event fails the source. Default: 16777216. */
  maxEventSize?: number;

  /** The id to resume from. It must not contain NUL, CR or LF. */
  lastEventId?: string;

  /**
   * A query parameter for the last event ID. It replaces the header `Last-Event-ID`, which needs a CORS preflight to other
   * origins.
   */
  lastEventIdParam?: string;

  /**
   * Milliseconds without a single byte after which the source reconnects, from 1 to 2147483647. The server must send
   * something, such as a comment, more often than that. Default: never.
   */
  idleTimeout?: number;

  /**
   * A non-empty key of `sessionStorage`, or of the named storage, that keeps the last event ID. A source with the same key
   * resumes from it, for example after a reload. It takes precedence over `lastEventId`. If there is no storage, as in
   * workers and some private windows, or if it is full, the console shows a warning and nothing else changes. After a crash,
   * events of the last 250 ms may be repeated.
   */
  persist?: string | { key: string; storage?: 'session' | 'local' };

  /**
   * Whether to reconnect at once, with an error event of the reason `wake`, when the network returns and when the computer
   * has slept for ten seconds or more. In browsers without the `resume` event, this also happens when the tab is shown and
   * the connection has been silent for 20 seconds. While the page is in the back/forward cache the connection is closed; it
   * reopens on return without an error event or a delay. A source does not wake within two seconds of its last request, nor
   * if its request is made once and cannot resume. Default: false.
   */
  wake?: boolean;

  /** Closes the source when aborted. */
  signal?: AbortSignal;

  /** A function to call instead of the browser's `fetch`, for the stream's requests only. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;

  /**
   * A function, such as `JSON.parse`, that makes `event.data` from the event's text and type. If it throws, the event is
   * lost, and an error event with the reason `parse` and the `cause` fires instead. The stream continues.
   */
  parse?: (data: string, type: EventType) => unknown;

  /** Is called with events of all types, after their listeners. Exceptions are reported like those of listeners. */
  onEvent?: (event: MessageEvent) => void;

  /** Is called with the text of every comment, in order with the events. Comments then count toward `maxEventSize`. */
  onComment?: (text: string) => void;

  /** How many events may wait for a `for await` loop, and what happens to further ones. */
  buffer?: EventBuffer;

  /**
   * How many bytes of the response's body to include as `body` in error events with the reason `status` or `content-type`,
   * from 0 to 65536. The event waits for them, at most a second. Default: 0.
   */
  errorBodySize?: number;

  /**
   * What to do with entries about the source: requests, open and error events, and the end. They contain no headers, ids,
   * data or URL queries. A function is called with each entry, so `console.debug` logs them. An array collects the last
   * `diagnosticsSize` entries, for `console.table` or a report.
   */
  diagnostics?: Diagnostic[] | ((entry: Diagnostic) => void);

  /** How many entries an array given as `diagnostics` holds, from 1 to 10000. Default: 100. */
  diagnosticsSize?: number;

  /**
   * Whether to read and decode the stream in a worker, which all such sources of the page share. The page's thread only fires
   * the events. Functions are called in the page. Cannot be combined with `fetch`.
   *
   * `true` starts `eventsource.worker.js` from beside this script; any other value is its URL. A page that requires Trusted
   * Types passes a `TrustedScriptURL`. The first source with this option decides for the page. A Content-Security-Policy needs
   * `worker-src` for the script, or for `blob:` if the script is from another origin. If the worker cannot start, the source
   * runs on the page's own thread, and the console says why. Default: false.
   */
  worker?: boolean | string | URL | TrustedScriptURLLike;

  /**
   * Whether to share one connection among all pages and dedicated workers of the origin that use the same URL, credentials and
   * headers. Requires the method `GET`; cannot be combined with `fetch`.
   *
   * The connection lives in a SharedWorker. Where there is none, it lives in a worker of one page, and another page takes over
   * when that page goes away. Both need `eventsource.worker.js` beside the script, and `worker-src` for it in a
   * Content-Security-Policy. Functions are called in the page. `retry`, `idleTimeout`, `maxEventSize`, `lastEventIdParam` and
   * `errorBodySize` are those of the first page; a page that sets other values gets a warning on its console. Where sharing
   * is impossible, as in frames of other sites, the source has its own connection. Default: false.
   */
  shared?: boolean;

  /** When to reconnect. By default, after the stream's reconnection time, without a limit, and never after an HTTP error. */
  retry?: Retry;
}

/** A string, declared so that `JSON.parse` is assignable to `parse`. */
export type EventType = string & NonNullable<Parameters<typeof JSON.parse>[1]>;

/** A `TrustedScriptURL`. TypeScript's own libraries do not declare it. */
export interface TrustedScriptURLLike {
  toJSON(): string;
  toString(): string;
}

/** Responses to accept in addition to those that the standard accepts. */
export interface Accept {
  /** Statuses from 201 to 299, except 204 and 205, which have no body. Default: none. */
  statuses?: number[];
  /**
   * Media types without parameters, such as `application/octet-stream`. An empty string accepts responses without a
   * `Content-Type`. Default: none.
   */
  contentTypes?: string[];
}

/** Exponential backoff. Times are in milliseconds. The stream's `retry:` field sets the minimum delay. */
export interface Retry {
  /** The first delay. Default: 1000. */
  initial?: number;
  /** The maximum delay. Default: 30000. */
  max?: number;
  /** The factor by which the delay grows, from 1 to 1000. Default: 2. */
  factor?: number;
  /** The random part of a delay, from 0 to 1. Default: 1. */
  jitter?: number;
  /** The number of consecutive failures after which the source fails for good. Default: Infinity. */
  attempts?: number;
  /** HTTP statuses to try again, after `Retry-After` if that is longer. 204 is not allowed. Default: 429, 500, 502, 503, 504. */
  statuses?: number[];
  /** How long a connection must stay open to reset the count of failures and the delay. Default: 5000. */
  resetAfter?: number;
}

/** The buffer of a `for await` loop. */
export interface EventBuffer {
  /** How many events it holds, from 1 to 1048576. Default: 1000. */
  size?: number;
  /**
   * What happens when it is full: `wait` stops reading the stream until the loop takes an event, which also delays events for
   * listeners; `oldest` and `newest` drop that event. Default: `wait`.
   */
  full?: 'wait' | 'oldest' | 'newest';
}

/** What happened to a source. */
export interface Diagnostic {
  /** In milliseconds since 1970. */
  time: number;
  what: 'request' | 'open' | 'error' | 'close' | 'engine';
  /** Without query and fragment. */
  url: string;
  attempt?: number;
  resumed?: boolean;
  status?: number;
  /** For `engine`: why the script runs the source. */
  reason?: Reason | 'disabled' | 'network' | 'status' | 'compile' | 'version' | 'unsupported' | 'trap' | 'panic' | 'ended';
  willRetry?: boolean;
  retryIn?: number;
  /** What runs the source from now on: the script or the Go module. */
  engine?: 'script' | 'go';
  /** The name of the exception. */
  cause?: string;
}

/** The argument of functions for `headers` and `body`. */
export interface Attempt {
  /** The number of this request since the connection was last open, from 1. */
  attempt: number;
  lastEventId: string;
  /** Why another request is needed; undefined for the first. */
  reason?: Reason;
  /** The status of the last response, if any. */
  status?: number;
}

/**
 * `ended`: the server ended the stream. `network`: the connection failed or broke. `cors`, `csp`, `url`: the browser does
 * not allow the request. `status`: the status was not 200. `content-type`: the response is not an event stream. `limit`: an
 * event was larger than `maxEventSize`. `idle`: nothing arrived for `idleTimeout`. `wake`: see the option. `headers`,
 * `body`: the function failed. `parse`: the function failed for one event; the connection is not affected.
 */
export type Reason =
  'ended' | 'network' | 'cors' | 'csp' | 'url' | 'status' | 'content-type' | 'limit' | 'idle' | 'wake' | 'headers' | 'body' | 'parse';

/** An open or error event, with those details of the response that scripts may see. */
export interface ConnectionEvent extends Event {
  readonly status?: number;
  readonly headers?: Headers;
  /** The URL of the response, after redirects, or of the request. */
  readonly url?: string;
  /** The number of requests since the connection was last open. */
  readonly attempt?: number;
  /** Whether the request had a last event ID. */
  readonly resumed?: boolean;
}

export interface ConnectionErrorEvent extends ConnectionEvent {
  readonly reason: Reason;
  /** The first bytes of the response, as text; see `errorBodySize`. */
  readonly body?: string;
  readonly willRetry: boolean;
  /** Milliseconds until the next attempt, at most 2147483647. */
  readonly retryIn?: number;
  /** The exception of `fetch`, the stream or your function. */
  readonly cause?: unknown;
}

/**
 * An event for `onerror`: a failure of the connection, or a message that the server named `error`. Only a message has
 * `data`, and only a failure has a `reason`.
 */
export type SourceErrorEvent<Data = any> = ConnectionErrorEvent | (MessageEvent<Data> & NoDetails);

/** An event for `onopen`: the connection is open, or the server sent a message named `open`. */
export type SourceOpenEvent<Data = any> = ConnectionEvent | (MessageEvent<Data> & NoDetails);

/** Messages have no details of the connection. */
type NoDetails = { readonly [Detail in Exclude<keyof ConnectionErrorEvent, keyof Event>]?: undefined };

/** The type of the data of events with that type; any unless Events has it. */
type DataOf<Events, Type extends string> = Events extends { [type in Type]: infer Data } ? Data : any;

/** The type of an event handler when it is read. It makes this class assignable to the DOM's EventSource. */
type AnyHandler = ((this: any, event: any) => any) | null;

/** The same type, but not a candidate for inference. */
type Given<Events> = [Events][Events extends any ? 0 : never];

/** The events that listeners receive, by type. */
type EventMap<Events> = { [Type in Exclude<keyof Events, 'open' | 'error'>]: MessageEvent<Events[Type]> } & {
  error: SourceErrorEvent<DataOf<Events, 'error'>>;
  message: MessageEvent<DataOf<Events, 'message'>>;
  open: SourceOpenEvent<DataOf<Events, 'open'>>;
};

/** The events of a `for await` loop. With Events, `type` determines the type of `data`. */
type AnyEvent<Events> = keyof Events extends never
  ? MessageEvent
  : { [Type in keyof Events]: MessageEvent<Events[Type]> & { readonly type: Type } }[keyof Events];

/**
 * The interface EventSource of the HTML Standard, section 9.2, with options. Events maps the types of the stream's events to
 * their data, such as `EventSource<{ tick: number }>` with `parse: Number`. It exists only at compile time.
 */
export declare class EventSource<Events extends object = {}> extends EventTarget {
  /**
   * @throws SyntaxError (a DOMException) if the URL cannot be parsed
   * @throws TypeError if an option has the wrong type or is out of range
   */
  constructor(url: string | URL, eventSourceInitDict?: EventSourceInit);

  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSED: 2;

  /** The URL, resolved. It stays the same when the server redirects. */
  readonly url: string;
  readonly withCredentials: boolean;
  readonly readyState: 0 | 1 | 2;

  /**
   * Returns a source that reads the bytes of a stream, following the description of the proposal
   * https://github.com/whatwg/html/pull/12272, which may still change. It locks the stream at once, and close() cancels it.
   * The source fails when the stream ends, fails, or has a chunk that is not a Uint8Array; it never reconnects. Its URL is
   * `about:event-stream`, and the origin of its messages is `null`.
   * @throws TypeError if the argument is not a stream, or is locked
   */
  static fromReadableStream<Events extends object = {}>(stream: ReadableStream<Uint8Array>): EventSource<Events>;
  /** The last event ID: in a listener, that of the event, and otherwise the one that a reconnection would send. */
  readonly lastEventId: string;
  /** The reconnection time in milliseconds: the last `retry:` of the stream, or 3000. */
  readonly reconnectionTime: number;
  /**
   * Discards an unfinished event and treats the next byte as the first of a stream. It is for pages that pipe one stream after
   * another into the stream of fromReadableStream. Other sources ignore it.
   */
  reset(): void;

  get onopen(): AnyHandler;
  set onopen(handler: ((this: EventSource<Events>, event: EventMap<Given<Events>>['open']) => any) | null);
  get onmessage(): AnyHandler;
  set onmessage(handler: ((this: EventSource<Events>, event: EventMap<Given<Events>>['message']) => any) | null);
  /**
   * `readyState` is CONNECTING if the source will reconnect, and CLOSED if it has failed for good. Messages that the server
   * named `error` arrive here too: they have `data`, and their `reason` is undefined.
   */
  get onerror(): AnyHandler;
  set onerror(handler: ((this: EventSource<Events>, event: EventMap<Given<Events>>['error']) => any) | null);

  /** Closes the source. No event follows. */
  close(): void;

  /**
   * Yields events of all types from now on, across reconnections, after their listeners ran. Leaving the loop closes the
   * source. The loop ends when the source is closed or its only stream has ended. If the source fails otherwise, the loop
   * throws an Error whose `cause` is the error event. See `buffer`.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<AnyEvent<Given<Events>>>;

  addEventListener<K extends keyof EventMap<Given<Events>>>(
    type: K,
    listener: (this: EventSource<Events>, event: EventMap<Given<Events>>[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: (this: EventSource<Events>, event: MessageEvent) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof EventMap<Given<Events>>>(
    type: K,
    listener: (this: EventSource<Events>, event: EventMap<Given<Events>>[K]) => any,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: (this: EventSource<Events>, event: MessageEvent) => any,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions): void;
}
