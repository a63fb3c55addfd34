// With TypeScript's DOM library: the class can stand in for the browser's.
import { EventSource as Ours, type EventSourceInit as Init } from 'eventsource-wasm';
import { EventSource as Inline } from 'eventsource-wasm/inline';

const source: EventSource = new Ours('/events');
const inline: Ours = new Inline('/events');
function follow(native: EventSource) {
  native.onmessage = ({ data }) => data;
}
follow(new Ours('/events', { parse: JSON.parse }));
const constructor: new (url: string | URL, init?: { withCredentials?: boolean }) => EventSource = Ours;
const init: Init = { parse: JSON.parse, worker: new URL('https://example.com/eventsource.worker.js') };
new Ours('/events', { parse: (data) => data.length });
new Ours('/events', { parse: (data, type) => data.trim() + type.trim() });
globalThis.EVENTSOURCE_WASM_URL = null;
globalThis.EVENTSOURCE_WASM_URL = '/eventsource.wasm';
new Ours('/events').onerror = ({ reason, willRetry }) => reason === 'csp' && willRetry.valueOf();
new Ours('/events').onerror = function (event) { this.close(); event.reason?.trim(); };
// @ts-expect-error: not an event
new Ours('/events').onerror = (event: number) => event;
// @ts-expect-error: not an address
new Ours('/events', { worker: 1 });
// @ts-expect-error: not a function of text
new Ours('/events', { parse: (data: number) => data });
export { source, inline, constructor, init };
new Ours('/events', { parse: (data: string, type: string) => [data, type] });
new Ours('/events', {
  parse(data, type) {
    const text: string = type;
    switch (type) {
      case 'tick':
        return text.trim();
      default:
        return type.startsWith('json') ? JSON.parse(data) : data;
    }
  },
});
// @ts-expect-error: not a number
new Ours('/events', { parse: (data, type) => type.toFixed() });
