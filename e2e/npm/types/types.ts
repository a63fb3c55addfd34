// What the package's types allow, and what they refuse. This file is only compiled.
import { EventSource, type ConnectionErrorEvent, type Diagnostic, type Reason, type SourceErrorEvent } from 'eventsource-wasm';

const source = new EventSource('/events', {
  withCredentials: true,
  headers: async ({ attempt, status }) => ({ Authorization: `Bearer ${attempt} ${status ?? 0}` }),
  retry: { initial: 100, statuses: [503] },
  signal: AbortSignal.timeout(1000),
});
source.onopen = ({ status, url }) => [status?.toFixed(), url?.trim()];
source.onmessage = ({ data, lastEventId }) => [data, lastEventId.trim()];
source.onerror = ({ reason, willRetry, retryIn, target }) => [reason === 'idle', willRetry, retryIn?.toFixed(), target];
source.addEventListener('error', (event: SourceErrorEvent) => {
  if (event.reason === undefined) return event.data.anything;
  const failure: ConnectionErrorEvent = event;
  return failure.willRetry && failure.cause;
});
source.onopen = (event) => {
  if ('data' in event) event.data.anything;
  else event.resumed?.valueOf();
};
source.addEventListener('tick', ({ origin }) => origin.trim(), { once: true });

const typed = new EventSource<{ tick: { n: number }; message: string }>('/events', {
  parse: (data, type) => (type === 'tick' ? JSON.parse(data) : data),
  onEvent: ({ type }) => type.trim(),
  onComment: (comment) => comment.trim(),
  method: 'POST',
  body: ({ attempt }) => JSON.stringify(attempt),
  credentials: 'omit',
  persist: { key: 'events', storage: 'local' },
  wake: true,
  buffer: { size: 10, full: 'oldest' },
  diagnostics: [] satisfies Diagnostic[],
  errorBodySize: 1000,
  resume: 'get',
  flushAtEnd: true,
  accept: { statuses: [201], contentTypes: ['text/plain'] },
});
const reporting = new EventSource<{ error: { code: number } }>('/events', { parse: (data) => JSON.parse(data) });
reporting.onerror = (event) => {
  if (event.reason === undefined) event.data.code.toFixed();
  else event.reason.trim();
};
typed.addEventListener('tick', ({ data }) => data.n.toFixed());
typed.addEventListener('error', ({ body }) => body?.trim());
typed.addEventListener('other', ({ data }) => data);
typed.onmessage = ({ data }) => data.trim();
export async function loop() {
  for await (const event of typed) {
    if (event.type === 'tick') event.data.n.toFixed();
    else event.data.trim();
  }
  for await (const { data } of EventSource.fromReadableStream(new ReadableStream<Uint8Array>())) data.anything;
}
// @ts-expect-error: not what tick has
typed.addEventListener('tick', ({ data }) => data.trim());
// @ts-expect-error: not what a message has
typed.onmessage = ({ data }) => data.n;
// @ts-expect-error: no such policy
new EventSource('/events', { buffer: { full: 'drop' } });

// @ts-expect-error: a server's event named "error" has no reason
source.onerror = ({ reason }) => reason.trim();
// @ts-expect-error: not all that onerror receives
source.addEventListener('error', (event: ConnectionErrorEvent) => event.cause);
// @ts-expect-error: only by GET
new EventSource('/events', { resume: 'post' });

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
