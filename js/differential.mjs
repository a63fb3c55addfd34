// The Node.js half of TestLifecyclesAgree in js/differential_test.go, which explains the arguments:
//   node js/differential.mjs POLICY KIND FIRST COUNT BLOCK LENGTH   prints a hash for each block of sequences
//   node js/differential.mjs POLICY KIND trace N LENGTH             prints the commands that the sequence causes

import { Lifecycle, STANDARD_RETRY } from './lifecycle.js';

const POLICIES = [
  STANDARD_RETRY,
  { statuses: [503, 404], initial: 1000, max: 60_000, factor: 1.7, jitter: 0.5, attempts: 4, resetAfter: 5000, seed: 7 },
  { statuses: [503, 204], initial: 2500, max: 2500, factor: 3, jitter: 1, attempts: Infinity, resetAfter: 0, seed: 0 },
  { statuses: [503], initial: 10, max: 20, factor: 2, jitter: 0, attempts: 3, resetAfter: 0, needsId: true, seed: 1 },
];

const encoder = new TextEncoder();
const CHUNKS = ['retry: 5000000000\nid: 7\n\n', 'id: é\nretry\n\ndata: x', 'data: 0123456789abcdef\n'].map((text) => encoder.encode(text));

let hash = 0;
let traced;
let open = false;

function mix(...values) {
  traced?.push(values.join(' '));
  for (const value of values) {
    if (typeof value === 'string') for (let i = 0; i < value.length; i++) hash = Math.imul(hash ^ value.charCodeAt(i), 16777619);
    else hash = Math.imul(hash ^ (value % 2 ** 32 >>> 0), 16777619);
  }
}

const commands = {
  fetch: (url, lastEventId) => mix(1, url, lastEventId),
  announce(stable) {
    open = true;
    mix(2, stable);
  },
  reestablish(delay, reason) {
    open = false;
    mix(3, delay, reason);
  },
  wait: (delay) => mix(4, delay),
  fail(reason) {
    open = false;
    mix(5, reason);
  },
};

const INPUTS = [
  (source) => source.respond(200, 'text/event-stream', '', 0),
  (source) => source.respond(200, 'Text/Event-Stream; charset=utf-8', 'http://b.example/', 0),
  (source) => source.respond(503, '', '', 2500),
  (source) => source.respond(204, '', '', 0),
  (source) => source.respond(200, 'text/event-stream, text/html', '', 0),
  (source) => source.interrupt(false),
  (source) => source.interrupt(true),
  (source) => source.end(),
  (source) => source.timer(),
  (source) => source.wake(),
  (source) => {
    open = false;
    source.close();
  },
  ...CHUNKS.map((chunk) => (source) => {
    if (!open) return;
    const { failed } = source.parse(chunk);
    mix(6, failed ? 1 : 0, source.reconnectionTime);
  }),
  (source) => source.reset(),
  (source) => source.respond(404, '', '', 0),
];

/** Returns the inputs of a sequence: the digits of its number, or random ones with the number as a seed. */
function inputs(kind, number, length) {
  if (kind === 'all') return Array.from({ length }, (_, i) => (number >>> (4 * i)) & 15);
  let seed = Math.imul(number + 1, 2654435761) | 1;
  return Array.from({ length }, () => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return seed & 15;
  });
}

function run(policy, kind, number, length) {
  open = false;
  const source = new Lifecycle(commands, { url: 'http://a.example/', lastEventId: '', maxEventSize: 16, comments: false, retry: policy });
  source.connect();
  for (const input of inputs(kind, number, length)) {
    mix(input);
    INPUTS[input](source);
  }
}

const [policy, kind, first, count, block, length] = process.argv.slice(2);
if (first === 'trace') {
  traced = [];
  run(POLICIES[policy], kind, Number(count), Number(block));
  console.log(traced.join('\n'));
} else {
  const lines = [];
  for (let number = 0; number < Number(count); number += Number(block)) {
    hash = 2166136261 | 0;
    for (let i = 0; i < Number(block) && number + i < Number(count); i++) run(POLICIES[policy], kind, Number(first) + number + i, Number(length));
    lines.push(hash >>> 0);
  }
  console.log(lines.join('\n'));
}
