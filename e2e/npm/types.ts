// What the package's types allow, and what they refuse. Nothing of it is run.
import { EventSource, type ConnectionErrorEvent, type Reason } from 'eventsource-wasm';

const source = new EventSource('/events', {
  withCredentials: true,
  headers: async ({ attempt, status }) => ({ Authorization: `Bearer ${attempt} ${status ?? 0}` }),
  retry: { initial: 100, statuses: [503] },
  signal: AbortSignal.timeout(1000),
});
source.onopen = ({ status, url }) => [status?.toFixed(), url?.trim()];
source.onmessage = ({ data, lastEventId }) => [data, lastEventId.trim()];
source.onerror = ({ reason, willRetry, retryIn, target }) => [reason === 'idle', willRetry, retryIn?.toFixed(), target];
source.addEventListener('error', (event: ConnectionErrorEvent) => event.cause);
source.addEventListener('tick', ({ origin }) => origin.trim(), { once: true });
const reason: Reason = 'cors';

// @ts-expect-error: a URL is required
new EventSource();
// @ts-expect-error: no such member
new EventSource('/events', { header: {} });
// @ts-expect-error: not a number of milliseconds
new EventSource('/events', { idleTimeout: '1s' });
// @ts-expect-error: no such reason
const other: Reason = 'weather';
// @ts-expect-error: read-only
source.readyState = 1;

export { reason, other };
