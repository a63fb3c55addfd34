import { SSE } from 'sse.js';

// It reconnects only with this option.
export const EventSource = new Proxy(SSE, {
  construct: (target, [url, init], newTarget) => Reflect.construct(target, [url, { ...init, autoReconnect: true }], newTarget),
});
