import type * as module from './index.js';

declare global {
  /** What the global EventSource takes beside the URL, now that it is this one. */
  interface EventSourceInit extends Omit<module.EventSourceInit, 'withCredentials'> {}
}
