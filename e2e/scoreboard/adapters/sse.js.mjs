import { SSE } from 'sse.js';

// It reconnects only if it is asked to.
export const EventSource = new Proxy(SSE, {
  construct: (target, [url, init], newTarget) => Reflect.construct(target, [url, { ...init, autoReconnect: true }], newTarget),
});
