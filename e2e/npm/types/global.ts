// The polyfill's global: TypeScript's own declarations, with our additions.
import { EventSource as Class } from 'eventsource-wasm/polyfill';

const source = new EventSource('/events', { headers: { Authorization: 'Bearer secret' }, retry: { attempts: 3 } });
source.addEventListener('error', ({ reason, willRetry }) => [reason === 'status', willRetry.valueOf()]);
source.addEventListener('open', ({ status }) => status?.toFixed());
source.addEventListener('tick', ({ data }) => data);
source.lastEventId.trim();
source.reconnectionTime.toFixed();
source.reset();
export async function loop() {
  for await (const { data } of source) data;
  for await (const { data } of Class.fromReadableStream(new ReadableStream<Uint8Array>())) data;
}
new Class('/events').onerror = ({ reason }) => reason?.trim();
// @ts-expect-error: no such member
new EventSource('/events', { header: {} });
