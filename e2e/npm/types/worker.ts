// Without TypeScript's DOM library, as in a worker.
import { EventSource as Ours } from 'eventsource-wasm';
import 'eventsource-wasm/polyfill';

const source: EventSource = new Ours('/events', { headers: { Authorization: 'Bearer secret' }, worker: true });
source.onmessage = ({ data }) => postMessage(data);
new EventSource('/events', { headers: {} }).reset();
