// Sends random streams, which the server makes from seeds, to native and to both engines of ours, and compares the events.
import { EventSource as script } from '/dist/eventsource.mjs';
import { EventSource as go, goOnly } from '/dist/test/eventsource.mjs';

await goOnly();
globalThis.EVENTSOURCE_WASM_URL = null; // the script engine
const implementations = { native: EventSource, script, go };

// Streams at a time. Each takes three of the six connections to a host.
const inFlight = 2;

// In milliseconds, far above what any stream needs. It only ends a run that hangs.
const limit = 20_000;

/** Compares count streams, beginning with seed first. */
export async function compare({ first, count, types }) {
  const result = { segments: 0, differences: [] };
  let next = first;
  const worker = async () => {
    while (next < first + count) {
      const seed = next++;
      const names = Object.keys(implementations);
      const [native, ...engines] = await Promise.all(names.map((name) => receive(name, seed, types)));
      result.segments += native.segments;
      for (const ours of engines) {
        const line = native.lines.findIndex((line, i) => line !== ours.lines[i]);
        if (line >= 0 || native.lines.length !== ours.lines.length) result.differences.push(difference(seed, native, ours, line));
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return result;
}

function difference(seed, native, ours, line) {
  if (line < 0) line = native.lines.length;
  const segment = native.lines.slice(0, line).filter((line) => line.startsWith('["segment"')).length;
  return { seed, segment, name: ours.name, native: native.lines[line] ?? 'nothing', ours: ours.lines[line] ?? 'nothing' };
}

/** Receives a stream and the one after the reconnection, which contains the Last-Event-ID that the server received. */
function receive(name, seed, types) {
  const lines = [];
  let segments = 0;
  const source = new implementations[name](`/stream?seed=${seed}&name=${name}`);
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      source.close();
      resolve({ name, lines, segments });
    };
    const timer = setTimeout(() => { lines.push('never ended'); end(); }, limit);
    const listener = (event) => {
      if (event instanceof MessageEvent) lines.push(JSON.stringify([event.type, event.data, event.lastEventId, event.origin]));
      else lines.push(`${event.type} ${source.readyState}`);
      if (event.type === 'segment') segments++;
      if (event.type === 'end' || source.readyState === EventSource.CLOSED) end();
    };
    for (const type of types) source.addEventListener(type, listener);
  });
}
