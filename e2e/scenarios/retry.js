// HTML Standard, 9.2.6 Interpreting an event stream: the field "retry", and the reconnection time of 9.2.2.
//
// No scenario measures time. Two sources lose their connections, first the one with the shorter reconnection time. Its time is up
// first on any machine, however slow.

import { engine } from '../harness/engine.js';

const standard = '9.2.6 process the field "retry"';

/** The source with the stream `quick` reconnects before the one with the stream `slow`. */
function returnsBefore(name, { quick, slow }, place = standard) {
  return {
    name,
    standard: place,
    async run(t) {
      const [one, two] = [await connect(t, 'quick'), await connect(t, 'slow')];
      await one.lose(quick);
      await two.lose(slow);
      const first = await one.server.request();
      const second = await two.server.request();
      t.note('quick before slow:', first.connection < second.connection);
    },
    expect: [
      'GET A/quick',
      'quick: open',
      'GET A/slow',
      'slow: open',
      'quick: error CONNECTING',
      'slow: error CONNECTING',
      'GET A/quick',
      'GET A/slow',
      'quick before slow: true',
    ],
  };
}

/** Opens a source. Its connection ends when `lose` has sent a stream. */
async function connect(t, name) {
  const server = t.stream('A', `/${name}`);
  const source = t.open(server.url, {}, { as: name });
  let connection = await server.accept();
  await t.until(source, 'open');
  return {
    server,
    async lose(stream) {
      await connection.send(stream);
      await connection.end();
      await t.until(source, 'error');
    },
    async return() {
      connection = await server.accept();
      await t.until(source, 'open');
    },
  };
}

/** The source does not reconnect before another one that is opened later and loses its connection later. */
function waits(name, stream, place = standard) {
  return {
    name,
    standard: place,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept();
      await connection.send(stream);
      await connection.end();
      await t.until(source, 'error');
      await t.fence();
      t.note('readyState', source.readyState);
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'readyState 0'],
  };
}

// Firefox raises reconnection times below half a second, so longer ones are needed there.
const [middle, long] = (engine === 'firefox' ? [1500, 2000] : [150, 300]).map((time) => `retry: ${time}\n`);

export default [
  returnsBefore('retry sets the reconnection time', { quick: 'retry: 1\n\n', slow: `${long}\n` }),
  returnsBefore('retry takes effect without a blank line', { quick: 'retry: 1\n', slow: long }),
  returnsBefore('the last of several reconnection times wins', { quick: 'retry: 5000\nretry: 1\n', slow: `retry: 1\n${long}` }),
  returnsBefore('a reconnection time in an unterminated line is ignored', { quick: 'retry: 1\nretry: 3000', slow: long }),
  returnsBefore('the reconnection time may be zero', { quick: 'retry: 0\n', slow: long }),
  returnsBefore('leading zeros of a reconnection time are ignored', { quick: 'retry: 00000000000000000000000001\n', slow: long }),
  returnsBefore('one space before the digits of a reconnection time is removed, and no more', { quick: 'retry:1\n', slow: `${long}retry:  1\n` }),
  ...['-1', '+1', '1 ', '1.0', '0x1', '1e0', '1ms', 'x', '١', '1\0', '1_0'].map((value) =>
    returnsBefore(`a reconnection time of ${JSON.stringify(value)} is ignored`, {
      quick: middle,
      slow: `${long}retry: ${value}\n`,
    }),
  ),
  returnsBefore('the field name retry is case-sensitive', { quick: middle, slow: `${long}Retry: 1\nRETRY: 1\n` }),
  returnsBefore(
    'an empty retry restores the default reconnection time',
    { quick: 'retry: 2000\n', slow: 'retry: 1\nretry\n' },
    `${standard}: the value is not digits only; Chromium takes its default of three seconds`,
  ),
  waits('a reconnection time beyond 31 bits does not overflow', 'retry: 2147483648\n'),
  waits('a reconnection time beyond 32 bits does not overflow', 'retry: 4294967297\n'),
  waits('a reconnection time of 53 bits does not overflow', 'retry: 9007199254740992\n'),
  returnsBefore('a reconnection time beyond 64 bits is ignored', { quick: 'retry: 1\nretry: 18446744073709551616\n', slow: long }),
  {
    name: 'a reconnection time applies to all further reconnections',
    standard: '9.2.3 reestablish the connection, step 2',
    async run(t) {
      const [one, two] = [await connect(t, 'quick'), await connect(t, 'slow')];
      await one.lose('retry: 1\n');
      await one.return();
      await one.lose('data\n\n');
      await one.return();
      await one.lose(':\n');
      await two.lose(long);
      const first = await one.server.request();
      const second = await two.server.request();
      t.note('quick before slow:', first.connection < second.connection);
    },
    expect: [
      'GET A/quick',
      'quick: open',
      'GET A/slow',
      'slow: open',
      'quick: error CONNECTING',
      'GET A/quick',
      'quick: open',
      'quick: message ""',
      'quick: error CONNECTING',
      'GET A/quick',
      'quick: open',
      'quick: error CONNECTING',
      'slow: error CONNECTING',
      'GET A/quick',
      'GET A/slow',
      'quick before slow: true',
    ],
  },
];
