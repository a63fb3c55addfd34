declare global {
  /**
   * Where eventsource.wasm is, if it is not beside the script. `null` never loads it: the script does all that it does. Set it
   * before the first stream is open.
   */
  var EVENTSOURCE_WASM_URL: string | URL | null | undefined;
}

/** What {@link EventSource} takes beside the URL. Without its members it behaves as the browser's own. */
export interface EventSourceInit {
  /** Whether cookies and other credentials are sent to another origin, too. Default: false. */
  withCredentials?: boolean;

  /** Where cookies and other credentials are sent. Default: `same-origin`, or `include` with `withCredentials`. */
  credentials?: RequestCredentials;

  /**
   * The method of every request, but `HEAD`, `CONNECT`, `TRACE` and `TRACK`. After a redirect, requests of another method
   * than `GET` go to the first URL again, since the redirect may have made a `GET` of it. Default: `GET`.
   */
  method?: string;

  /**
   * The body of the requests, of another method than `GET`. A value is sent once, and a request without a body is made once:
   * the source ends with its stream, and fails for good when the connection is lost or cannot be made, unless `resume` says
   * how to go on. A function is called before every request instead, so the request is repeated; if it throws or rejects,
   * that is an error event with the reason `body`, and it is called again for the next attempt.
   */
  body?: BodyInit | null | ((attempt: Attempt) => BodyInit | Promise<BodyInit>);

  /**
   * Headers of every request for the stream, such as `Authorization`. They are copied when the source is constructed. A
   * function is called before every request instead; if it throws or rejects, or gives what are no headers, that is an
   * error event with the reason `headers`, and it is called again for the next attempt.
   *
   * `Accept` is `text/event-stream` unless it is among them, and `Last-Event-ID` is the stream's as soon as it has one.
   * To another origin they need the server's permission, by CORS. `Authorization` is not sent to an origin that the
   * server redirected to.
   */
  headers?: HeadersInit | ((attempt: Attempt) => HeadersInit | Promise<HeadersInit>);

  /**
   * `get` resumes with `GET` what began with another method: a request with a last event ID is a `GET` without a body, to
   * the URL that the first one was redirected to. Without a last event ID the source cannot resume. A source that starts
   * with one, from `lastEventId` or `persist`, starts with `GET`. Default: `never`.
   */
  resume?: 'never' | 'get';

  /**
   * Whether the end of the stream counts as a blank line, so that a last event which lacks it is delivered and not
   * discarded. What a broken connection has cut off is discarded all the same. Default: false.
   */
  flushAtEnd?: boolean;

  /** What a response may be besides the standard's status 200 and type `text/event-stream`. */
  accept?: Accept;

  /** How many bytes one event may have before the connection fails, from 1 to 1073741824. Default: 16777216. */
  maxEventSize?: number;

  /** The last event ID to begin with, as if the stream had been read up to there. Without NUL, CR and LF. */
  lastEventId?: string;

  /**
   * A query parameter that the last event ID is sent in, in place of the header, which needs a CORS preflight to another
   * origin.
   */
  lastEventIdParam?: string;

  /**
   * After how many milliseconds without a byte, of a comment even, the connection is taken for dead and made anew, from
   * 1 to 2147483647. It must be longer than the server is ever silent. Default: never.
   */
  idleTimeout?: number;

  /**
   * A key, not empty, of `sessionStorage`, or of the storage that is named: the last event ID is kept there, and a source
   * with the same key begins with it, after a reload for example. It takes precedence over `lastEventId`. Without a
   * storage, as in workers and in some private windows, or when it is full, the console has a warning and nothing else
   * changes. Events of the last 250 ms before a crash may come again.
   */
  persist?: string | { key: string; storage?: 'session' | 'local' };

  /**
   * Whether to reconnect at once, open or not, when the network is back and when the computer has slept for ten seconds or
   * more; and, in browsers that do not say that a page was frozen, when the tab is shown and its connection has been
   * silent for 20 seconds: an error event with the reason `wake`. While the page is in the back/forward cache the connection is
   * closed, and it is made again on return, without an error event or a delay. Never within two seconds of the request, and
   * never where the request is made once and cannot resume. Default: false.
   */
  wake?: boolean;

  /** Closes the source when it is aborted, as `close()` does. */
  signal?: AbortSignal;

  /** Is called in place of the browser's `fetch`, for the stream's requests only. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;

  /**
   * Makes the data of an event from its text, as `JSON.parse` does: `event.data` is what it returns. It is called with the
   * event's type, too. If it throws, the event is lost and an error event with the reason `parse` and the `cause` tells of
   * it; the connection stays as it is, and so does what comes behind.
   */
  parse?: (data: string, type: EventType) => unknown;

  /** Is called with every event of the stream, of whatever type, behind its listeners. What it throws is reported as theirs. */
  onEvent?: (event: MessageEvent) => void;

  /** Is called with the text of every comment, in its place among the events. A comment counts for `maxEventSize` then. */
  onComment?: (text: string) => void;

  /** How many events a `for await` loop may be behind, and what happens to the next ones. */
  buffer?: EventBuffer;

  /**
   * How many bytes of the body an error event tells as `body` if its reason is `status` or `content-type`, from 0 to 65536.
   * The event waits for them, for a second at most. Default: 0.
   */
  errorBodySize?: number;

  /**
   * An array to which the source writes what happens to it, for `console.table` or a report: requests, open and error
   * events, and the end. It holds the last `diagnosticsSize` entries. Headers, ids, data, and what follows the path of a URL
   * are not among them.
   */
  diagnostics?: Diagnostic[];

  /** How many entries `diagnostics` holds, from 1 to 10000. Default: 100. */
  diagnosticsSize?: number;

  /** Whether `console.debug` gets those entries, too. Default: false. */
  debug?: boolean;

  /**
   * Whether a worker reads and decodes the stream, one for all sources of the page that want it, so that the page's own
   * thread is left with the events. Functions are called in the page. Not with `fetch`.
   *
   * The worker's script is `eventsource.worker.js` beside this one, or at the address that is given. A page that requires
   * Trusted Types passes a `TrustedScriptURL`. The first source with this option decides for the page. A
   * Content-Security-Policy needs `worker-src` for the script, or for `blob:` if it is of another origin. If the worker cannot
   * be started, the source runs on the page's own thread, and the console says why. Default: false.
   */
  worker?: boolean | string | URL | TrustedScriptURLLike;

  /**
   * Whether all pages and dedicated workers of the origin that give the same URL, credentials and headers share one connection.
   * It lives in a SharedWorker, and where there is none, in a worker of one page; another page takes over when that one goes. It
   * needs `eventsource.worker.js` beside the script, and `worker-src` for it in a Content-Security-Policy. Functions are called
   * in the page, the one for headers in the page that came last. `retry`, `idleTimeout`, `maxEventSize`, `lastEventIdParam` and
   * `errorBodySize` are those of the first page; the console warns whoever gives others. Only with the method `GET`, and not with
   * `fetch`. Where nothing can be shared, as in frames of other origins, the source has a connection of its own. Default: false.
   */
  shared?: boolean;

  /** How to try again. Without it: after the stream's reconnection time, for ever, and after no HTTP error. */
  retry?: Retry;
}

/** A string, declared so that `JSON.parse` fits, too, which ignores it. */
export type EventType = string & NonNullable<Parameters<typeof JSON.parse>[1]>;

/** A `TrustedScriptURL`, which TypeScript's own libraries do not declare. */
export interface TrustedScriptURLLike {
  toJSON(): string;
  toString(): string;
}

/** What a response may be besides what the standard requires. */
export interface Accept {
  /** Statuses besides 200, from 201 to 299, without 204 and 205, which have no body. Default: none. */
  statuses?: number[];
  /**
   * Types besides `text/event-stream`, without parameters, such as `application/octet-stream`. An empty string stands for
   * a response without a `Content-Type`. Default: none.
   */
  contentTypes?: string[];
}

/** Exponential backoff. Times are in milliseconds. What the stream sets by `retry:` is the least a delay can be. */
export interface Retry {
  /** The first delay. Default: 1000. */
  initial?: number;
  /** What a delay grows to. Default: 30000. */
  max?: number;
  /** By what each delay is longer than the one before, from 1 to 1000. Default: 2. */
  factor?: number;
  /** The part of a delay that is left to chance, from 0 to 1. Default: 1. */
  jitter?: number;
  /** After how many failures in a row the connection fails for good. Default: Infinity. */
  attempts?: number;
  /** HTTP statuses that are tried again, after `Retry-After` if it is longer. Not 204. Default: 429, 500, 502, 503, 504. */
  statuses?: number[];
  /** How long a connection must be open for the failures before it not to count. Default: 5000. */
  resetAfter?: number;
}

/** The buffer of a `for await` loop. */
export interface EventBuffer {
  /** How many events it holds, from 1 to 1048576. Default: 1000. */
  size?: number;
  /**
   * When it is full: `wait` reads no more of the stream until the loop has taken an event, which also keeps events from
   * listeners; `oldest` and `newest` drop such an event. Default: `wait`.
   */
  full?: 'wait' | 'oldest' | 'newest';
}

/** What happened to a source. */
export interface Diagnostic {
  /** In milliseconds since 1970. */
  time: number;
  what: 'request' | 'open' | 'error' | 'close' | 'engine';
  /** Up to its path. */
  url: string;
  attempt?: number;
  resumed?: boolean;
  status?: number;
  /** With `engine`, why it is the script and not Go. */
  reason?: Reason | 'disabled' | 'network' | 'status' | 'compile' | 'version' | 'unsupported' | 'trap' | 'panic' | 'ended';
  willRetry?: boolean;
  retryIn?: number;
  /** What runs the source from now on: the script, or the Go module. */
  engine?: 'script' | 'go';
  /** The name of the exception. */
  cause?: string;
}

/** What a function in place of headers or of the body is told. */
export interface Attempt {
  /** 1 for the first request, and for the first one after the connection was open. */
  attempt: number;
  lastEventId: string;
  /** Why there has to be another request; undefined for the first. */
  reason?: Reason;
  /** The status of the last response, if there was one. */
  status?: number;
}

/**
 * `ended`: the server ended the stream. `network`: the connection could not be made, or broke. `cors`, `csp`, `url`: the
 * browser does not allow the request. `status`: it was not 200. `content-type`: the response is not an event stream.
 * `limit`: an event was larger than `maxEventSize`. `idle`: nothing arrived for `idleTimeout`. `wake`: it may
 * have been dead. `headers`, `body`: the function for them failed. `parse`: that option's
 * function failed, and nothing else happened.
 */
export type Reason =
  'ended' | 'network' | 'cors' | 'csp' | 'url' | 'status' | 'content-type' | 'limit' | 'idle' | 'wake' | 'headers' | 'body' | 'parse';

/** An open or error event. Of the response it tells what a script may see, and nothing if there was none. */
export interface ConnectionEvent extends Event {
  readonly status?: number;
  readonly headers?: Headers;
  /** That of the response, after redirects, or else that of the request. */
  readonly url?: string;
  /** How many requests it took since the connection was open before. */
  readonly attempt?: number;
  /** Whether the request named a last event ID. */
  readonly resumed?: boolean;
}

export interface ConnectionErrorEvent extends ConnectionEvent {
  readonly reason: Reason;
  /** The text of the response's first bytes, where `errorBodySize` asks for them. */
  readonly body?: string;
  readonly willRetry: boolean;
  /** In how many milliseconds, or at least in 2147483647. */
  readonly retryIn?: number;
  /** What `fetch`, the stream or the function for headers threw. */
  readonly cause?: unknown;
}

/**
 * What `onerror` receives: a failure of the connection, or an event that the server itself has named `error`, which has
 * `data` and no `reason`.
 */
export type SourceErrorEvent<Data = any> = ConnectionErrorEvent | (MessageEvent<Data> & NoDetails);

/** What `onopen` receives: the connection is open, or the server has named an event `open`. */
export type SourceOpenEvent<Data = any> = ConnectionEvent | (MessageEvent<Data> & NoDetails);

/** A message tells nothing of the connection. */
type NoDetails = { readonly [Detail in Exclude<keyof ConnectionErrorEvent, keyof Event>]?: undefined };

/** The data of events of a type: any, unless Events tells. */
type DataOf<Events, Type extends string> = Events extends { [type in Type]: infer Data } ? Data : any;

/** An event handler as it is read: one that fits the DOM's, so that this EventSource can stand where that is expected. */
type AnyHandler = ((this: any, event: any) => any) | null;

/** The same type, which the compiler does not infer from where the source is put. */
type Given<Events> = [Events][Events extends any ? 0 : never];

/** What listeners receive, by type. */
type EventMap<Events> = { [Type in Exclude<keyof Events, 'open' | 'error'>]: MessageEvent<Events[Type]> } & {
  error: SourceErrorEvent<DataOf<Events, 'error'>>;
  message: MessageEvent<DataOf<Events, 'message'>>;
  open: SourceOpenEvent<DataOf<Events, 'open'>>;
};

/** What a `for await` loop has: with Events, an event whose `type` tells its `data`. */
type AnyEvent<Events> = keyof Events extends never
  ? MessageEvent
  : { [Type in keyof Events]: MessageEvent<Events[Type]> & { readonly type: Type } }[keyof Events];

/**
 * The interface EventSource of the HTML Standard, section 9.2, with custom headers. Events tells the data of the stream's
 * events by their types, such as `EventSource<{ tick: number }>` with `parse: Number`; it is for the compiler alone.
 */
export declare class EventSource<Events extends object = {}> extends EventTarget {
  /**
   * @throws SyntaxError (a DOMException) if the URL cannot be parsed
   * @throws TypeError if a member of the second argument is not of its type or out of its range
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
   * A source of the bytes of a stream, as https://github.com/whatwg/html/pull/12272 proposes it, as far
   * as its description goes: the text may differ in what that does not say, and it may still change. It locks the stream at once,
   * and close() cancels it. When the stream ends or fails, or has a chunk that is no Uint8Array, the source fails: there
   * is nothing to reconnect to. Its URL is `about:event-stream`, the origin of its messages `null`.
   * @throws TypeError if it is no stream, or locked
   */
  static fromReadableStream<Events extends object = {}>(stream: ReadableStream<Uint8Array>): EventSource<Events>;
  /** The last event ID: during an event, its own, and otherwise the one that a reconnection sends. */
  readonly lastEventId: string;
  /** In milliseconds: what the stream has set by `retry:`, as far as it has arrived, or else 3000. */
  readonly reconnectionTime: number;
  /**
   * Forgets what has arrived of an event, and takes the next byte for the first of a stream: for a page that puts one
   * stream after another into that of fromReadableStream. Other sources ignore it.
   */
  reset(): void;

  get onopen(): AnyHandler;
  set onopen(handler: ((this: EventSource<Events>, event: EventMap<Given<Events>>['open']) => any) | null);
  get onmessage(): AnyHandler;
  set onmessage(handler: ((this: EventSource<Events>, event: EventMap<Given<Events>>['message']) => any) | null);
  /**
   * `readyState` is CONNECTING if the connection is to be made again, CLOSED if it has failed for good. An event that the
   * server has named `error` arrives here, too: it has `data`, and its `reason` is undefined.
   */
  get onerror(): AnyHandler;
  set onerror(handler: ((this: EventSource<Events>, event: EventMap<Given<Events>>['error']) => any) | null);

  /** Ends the connection. No event follows. */
  close(): void;

  /**
   * A loop over the events of all types, from now on and over reconnections, behind their listeners. To leave it closes the
   * source. It ends when the source is closed or its one stream has ended, and throws an Error with the error event for
   * its `cause` when the source has failed otherwise. See `buffer`.
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
