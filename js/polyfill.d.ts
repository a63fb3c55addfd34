import type * as module from './index.js';

/** The global with its full type. TypeScript does not let packages change how its own libraries declare the global. */
export { EventSource } from './index.js';

declare global {
  /** The options of the global EventSource. */
  interface EventSourceInit extends Omit<module.EventSourceInit, 'withCredentials'> {}

  /** The members of the global EventSource beyond the standard. */
  interface EventSource extends Pick<module.EventSource, 'lastEventId' | 'reconnectionTime' | 'reset'> {
    [Symbol.asyncIterator](): AsyncIterableIterator<MessageEvent>;
    addEventListener(
      type: 'error',
      listener: (this: EventSource, event: module.ConnectionErrorEvent) => any,
      options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
      type: 'open',
      listener: (this: EventSource, event: module.ConnectionEvent) => any,
      options?: boolean | AddEventListenerOptions,
    ): void;
  }
}
