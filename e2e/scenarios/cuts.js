// HTML Standard, 9.2.5: a stream is a sequence of bytes, and it does not matter where the network cuts it. These scenarios
// repeat the short streams of parsing.js, cut in two at each byte.

import { watch } from '../harness/trace.js';
import parsing from './parsing.js';

const standard = '9.2.5 Parsing an event stream, which knows no chunks';

// The longest streams tested, in bytes: those that can be repeated in one connection, and those that need a connection per
// cut.
const longest = 60;
const longestAlone = 30;

const connectionsAtATime = 4;

function join(chunks) {
  return chunks.flatMap((chunk) => (typeof chunk === 'string' ? [...new TextEncoder().encode(chunk)] : [...chunk]));
}

/** Sends the chunks and ends the stream. Returns the lines of all events that the source receives, from open to error. */
async function receive(t, chunks, types) {
  const server = t.stream('A', '', { record: false });
  const source = new t.EventSource(server.url);
  const lines = [];
  const ended = new Promise((resolve) => {
    watch(source, { labels: t.origins, types }, (line, event) => {
      lines.push(line);
      // The stream may have an event of that name.
      if (event.type !== 'error' || ('data' in event && source.readyState !== 0)) return;
      source.close();
      resolve();
    });
  });
  const connection = await server.accept();
  await connection.send(...chunks);
  await connection.end();
  await t.waiting('the stream to end', ended);
  return lines;
}

/** Yields the chunks of the repeated stream: first without a cut, then with one that moves by a byte each time. */
function* repeated(bytes) {
  yield bytes;
  let rest = [];
  for (let i = 1; i < bytes.length; i++) {
    yield [...rest, ...bytes.slice(0, i)];
    rest = bytes.slice(i);
  }
  yield rest;
}

/** Sends the stream repeatedly in one connection. Writes what each repetition gave, once if it was always the same. */
async function repeat(t, bytes, types, size) {
  const [open, ...lines] = await receive(t, [...repeated(bytes)], types);
  const error = lines.pop();
  const times = new Map();
  for (let i = 0; i < lines.length; i += size) {
    const events = lines.slice(i, i + size).join('\n');
    times.set(events, (times.get(events) ?? 0) + 1);
  }
  t.note(open);
  for (const [events, n] of times) {
    t.note(n === bytes.length ? 'every time' : `${n} times`);
    for (const line of events.split('\n')) t.note(line);
  }
  t.note(error);
}

/** The same with one connection for each cut, for streams that depend on their beginning or end. */
async function reconnect(t, bytes, types) {
  const cuts = [[bytes], bytes.map((byte) => [byte]), ...bytes.slice(1).map((_, i) => [bytes.slice(0, i + 1), bytes.slice(i + 1)])];
  const n = cuts.length;
  const times = new Map();
  const worker = async () => {
    for (let cut; (cut = cuts.shift()); ) {
      const lines = (await receive(t, cut, types)).join('\n');
      times.set(lines, (times.get(lines) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: connectionsAtATime }, worker));
  for (const [lines, count] of times) {
    t.note(count === n ? 'every time' : `${count} times`);
    for (const line of lines.split('\n')) t.note(line);
  }
}

/** Reports whether the stream ends with a blank line and has no special beginning, such as a byte order mark. */
function isRepeatable(bytes) {
  return bytes[0] < 0x80 && /(\n|\r)\r?\n$/.test(String.fromCharCode(...bytes.slice(-3)));
}

function cutAnywhere({ name, expect, chunks, types }) {
  const bytes = join(chunks);
  const [, open, ...events] = expect;
  const error = events.pop();
  const repeats = events.length > 0 && isRepeatable(bytes);
  if (bytes.length > (repeats ? longest : longestAlone)) return [];
  return {
    name: `${name}, wherever the stream is cut`,
    standard,
    run: (t) => (repeats ? repeat(t, bytes, types, events.length) : reconnect(t, bytes, types)),
    expect: repeats ? [open, 'every time', ...events, error] : ['every time', open, ...events, error],
  };
}

export default parsing.filter(({ chunks }) => chunks).flatMap(cutAnywhere);
