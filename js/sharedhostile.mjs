// Posts malformed messages: node js/sharedhostile.mjs SEED COUNT. A shared stream must never throw or loop forever.

import { Log } from './sharedlog.js';
import { messageOf } from './sharedmessages.js';
import { Client, SharedStream } from './sharedstream.js';

let state;
const random = (n) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
};
const pick = (list) => list[random(list.length)];

const NUMBERS = [0, 1, 2, 3, 5, 2 ** 45, 2 ** 45 + 1, 2 ** 53, -1, 0.5, NaN, Infinity];
const WRONG = [undefined, null, 1n, '', 'x', {}, [], new Array(3), Object.assign([], { every: 1, map: 1, at: 1 }), { 0: 1n }, { toString: 1 }, true];

const number = () => (random(3) ? random(6) : pick(NUMBERS));
const epoch = () => [number(), pick(['a', 'b', 'node', 'z'.repeat(200)])];
const table = () => pick([[-1, 1, 1, -1], [-1], [0, 1, 2, -1], [9], [NaN], Object.assign([-1], { slice: 1 }), new Int32Array(1), new Array(4)]);
const details = () => pick([{}, { status: 200, headers: [['a', 'b']] }, { headers: [['a b', '']] }, { headers: new Array(2) }, { body: 'x'.repeat(1000) }, null]);
const entry = () =>
  pick([
    () => ({ batch: { text: pick(['', 'ab', 'x'.repeat(50)]), table: table() }, origin: 'http://a', reconnectionTime: number() }),
    () => ({ fire: pick(['open', 'error', 'x']), details: details(), readyState: number(), reconnectionTime: number() }),
  ])();
const list = (most, make) => Array.from({ length: random(most) }, make);
const place = () => ({ lastEventId: pick(['', '1', 'a\n']), at: pick([undefined, [epoch(), number(), '1']]) });

const message = () => ({
  kind: pick(['join', 'have', 'want', 'beat', 'bye', 'wake', 'entries', 'lead', 'x', 'constructor']),
  from: pick(['a', 'b', 'z'.repeat(200)]),
  to: pick([undefined, undefined, 'node']),
  places: list(4, place),
  epoch: epoch(),
  first: number(),
  head: number(),
  start: number(),
  isOpen: pick([true, false]),
  history: list(4, () => [epoch(), number()]),
  entries: list(6, entry),
  options: list(3, () => 'x'),
  base: { lastEventId: '1', open: true, opened: details(), reconnectionTime: 1 },
});

/** Replaces a random part of the value. */
function spoil(value) {
  const names = Object.keys(value);
  if (names.length === 0) return;
  const name = pick(names);
  if (typeof value[name] === 'object' && value[name] && !ArrayBuffer.isView(value[name]) && random(2)) spoil(value[name]);
  else value[name] = pick(WRONG);
}

/** Returns a stream that throws after too many commands. */
function streamOf() {
  let calls = 0;
  const call = () => {
    if (++calls > 100_000) throw new Error('too many commands');
  };
  const host = { options: [] };
  for (const name of ['send', 'queue', 'steal', 'release', 'connect', 'disconnect', 'wake', 'meet', 'closed', 'ended']) host[name] = call;
  return new SharedStream(host, { node: 'node', now: 0, log: new Log(5000) });
}

function attack() {
  const stream = streamOf();
  stream.begin();
  for (let n = random(3); n >= 0; n--) {
    const client = new Client({ lastEventId: pick(['', '1']), readyState: 0 });
    client.send = client.lost = () => {};
    stream.add(client);
  }
  if (random(2)) stream.granted();
  for (let now = 0, n = 0; n < 60; n++, now += random(300)) {
    const posted = message();
    if (random(3) === 0) spoil(posted);
    const copy = messageOf(structuredClone(posted));
    if (copy) stream.receive(copy, now);
    if (random(4) === 0) stream.tick(now);
    if (random(10) === 0) stream.granted();
    if (random(10) === 0) stream.stolen();
    if (random(6) === 0) stream.produce({ batch: { text: 'ab', table: [-1, 1, 2, -1] }, origin: 'o', reconnectionTime: 1 });
    for (const client of stream.clients) stream.taken(client, 1000);
  }
}

const [first, count] = process.argv.slice(2).map(Number);
for (let seed = first; seed < first + count; seed++) {
  state = seed;
  try {
    attack();
  } catch (error) {
    console.log(`seed ${seed}: ${error.stack}`);
    process.exit(1);
  }
}
