/** What {@link EventSource} takes beside the URL. Without `headers` it behaves as the browser's own. */
export interface EventSourceInit {
  /** Whether cookies and other credentials are sent to another origin, too. Default: false. */
  withCredentials?: boolean;

  /**
   * Headers of every request for the stream, such as `Authorization`. They are copied when the source is constructed.
   * `Accept` is `text/event-stream` unless it is among them, and `Last-Event-ID` is the stream's as soon as it has one.
   * To another origin they need the server's permission, by CORS. `Authorization` is not sent to an origin that the
   * server redirected to.
   */
  headers?: HeadersInit;

  /** How many bytes one event may have before the connection fails, from 1 to 1073741824. Default: 16777216. */
  maxEventSize?: number;
}

interface EventSourceEventMap {
  error: Event;
  message: MessageEvent;
  open: Event;
}

/** The interface EventSource of the HTML Standard, section 9.2, with custom headers. */
export declare class EventSource extends EventTarget {
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

  onopen: ((this: EventSource, event: Event) => any) | null;
  onmessage: ((this: EventSource, event: MessageEvent) => any) | null;
  /** `readyState` is CONNECTING if the connection is to be made again, CLOSED if it has failed for good. */
  onerror: ((this: EventSource, event: Event) => any) | null;

  /** Ends the connection. No event follows. */
  close(): void;

  addEventListener<K extends keyof EventSourceEventMap>(
    type: K,
    listener: (this: EventSource, event: EventSourceEventMap[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: (this: EventSource, event: MessageEvent) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof EventSourceEventMap>(
    type: K,
    listener: (this: EventSource, event: EventSourceEventMap[K]) => any,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: (this: EventSource, event: MessageEvent) => any,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions): void;
}
