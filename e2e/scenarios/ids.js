// HTML Standard, 9.2.4 The `Last-Event-ID` header and 9.2.6 Interpreting an event stream: the field "id".

/** Sends the stream and ends it. The next request shows the last event ID. */
function resumes(name, stream, expect, standard = '9.2.6 process the field "id"; 9.2.3 reestablish the connection') {
  return {
    name,
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\n\n', stream);
      await first.end();
      await t.until(source, 'error');
      const second = await server.accept();
      await second.send('data: resumed\n\n');
      while ((await t.until(source, 'message')).data !== 'resumed');
    },
    expect,
  };
}

export default [
  resumes("an id is the event's lastEventId and is sent on reconnection", 'id: 7\ndata: x\n\n', [
    'GET A',
    'open',
    'message "x" id "7"',
    'error CONNECTING',
    'GET A last-event-id: "7"',
    'open',
    'message "resumed" id "7"',
  ]),
  resumes('an id applies to the events after it', 'id: 7\ndata: x\n\ndata: y\n\n', [
    'GET A',
    'open',
    'message "x" id "7"',
    'message "y" id "7"',
    'error CONNECTING',
    'GET A last-event-id: "7"',
    'open',
    'message "resumed" id "7"',
  ]),
  resumes(
    'an id without data takes effect at the blank line',
    'id: 7\n\n',
    ['GET A', 'open', 'error CONNECTING', 'GET A last-event-id: "7"', 'open', 'message "resumed" id "7"'],
    '9.2.6 dispatch the event, step 1, which precedes the empty data of step 2',
  ),
  resumes(
    'the id of an event without a final blank line is ignored',
    'id: 1\ndata: x\n\nid: 2\ndata: y\n',
    ['GET A', 'open', 'message "x" id "1"', 'error CONNECTING', 'GET A last-event-id: "1"', 'open', 'message "resumed" id "1"'],
    '9.2.6: once the end of the file is reached, any pending data must be discarded',
  ),
  resumes(
    'the id of the only event, without a final blank line, is ignored',
    'id: 2\ndata: y\n',
    ['GET A', 'open', 'error CONNECTING', 'GET A', 'open', 'message "resumed"'],
    '9.2.6: once the end of the file is reached, any pending data must be discarded',
  ),
  resumes('an id in an unterminated line is ignored', 'id: 1\ndata: x\n\nid: 2', [
    'GET A',
    'open',
    'message "x" id "1"',
    'error CONNECTING',
    'GET A last-event-id: "1"',
    'open',
    'message "resumed" id "1"',
  ]),
  resumes('an empty id clears the last event ID', 'id: 7\ndata: x\n\nid:\ndata: y\n\n', [
    'GET A',
    'open',
    'message "x" id "7"',
    'message "y"',
    'error CONNECTING',
    'GET A',
    'open',
    'message "resumed"',
  ]),
  resumes('an id field without a colon clears the last event ID', 'id: 7\ndata: x\n\nid\ndata: y\n\n', [
    'GET A',
    'open',
    'message "x" id "7"',
    'message "y"',
    'error CONNECTING',
    'GET A',
    'open',
    'message "resumed"',
  ]),
  resumes('an id with a NUL is ignored', 'id: 7\ndata: x\n\nid: 8\0\ndata: y\n\n', [
    'GET A',
    'open',
    'message "x" id "7"',
    'message "y" id "7"',
    'error CONNECTING',
    'GET A last-event-id: "7"',
    'open',
    'message "resumed" id "7"',
  ]),
  resumes('an id that is only a NUL is ignored', 'id: 7\nid: \0\ndata: x\n\n', [
    'GET A',
    'open',
    'message "x" id "7"',
    'error CONNECTING',
    'GET A last-event-id: "7"',
    'open',
    'message "resumed" id "7"',
  ]),
  resumes('the last of several ids wins', 'id: 1\nid: 2\ndata: x\nid: 3\n\n', [
    'GET A',
    'open',
    'message "x" id "3"',
    'error CONNECTING',
    'GET A last-event-id: "3"',
    'open',
    'message "resumed" id "3"',
  ]),
  resumes('an id keeps its spaces and colons, except one leading space', 'id:  a: b c\ndata: x\n\n', [
    'GET A',
    'open',
    'message "x" id " a: b c"',
    'error CONNECTING',
    'GET A last-event-id: "a: b c"',
    'open',
    'message "resumed" id " a: b c"',
  ]),
  resumes('an id within Latin-1 is sent as UTF-8', 'id: é\ndata: x\n\n', [
    'GET A',
    'open',
    'message "x" id "é"',
    'error CONNECTING',
    'GET A last-event-id: <c3 a9>',
    'open',
    'message "resumed" id "é"',
  ], '9.2.3 reestablish the connection: the last event ID string, encoded as UTF-8'),
  resumes('an id beyond Latin-1 is sent as UTF-8', 'id: ✓💡\ndata: x\n\n', [
    'GET A',
    'open',
    'message "x" id "✓💡"',
    'error CONNECTING',
    'GET A last-event-id: <e2 9c 93 f0 9f 92 a1>',
    'open',
    'message "resumed" id "✓💡"',
  ], '9.2.3 reestablish the connection: the last event ID string, encoded as UTF-8'),
  resumes('an id with invalid UTF-8 is sent with replacement characters', [...new TextEncoder().encode('data: x\nid:'), 0xff, 0x0a, 0x0a], [
    'GET A',
    'open',
    'message "x" id "�"',
    'error CONNECTING',
    'GET A last-event-id: <ef bf bd>',
    'open',
    'message "resumed" id "�"',
  ], '9.2.3 reestablish the connection: the last event ID string, encoded as UTF-8'),
  resumes('a long id is kept and sent in full', `id: ${'0123456789'.repeat(15)}\ndata: x\n\n`, [
    'GET A',
    'open',
    `message "x" id "${'0123456789'.repeat(15)}"`,
    'error CONNECTING',
    `GET A last-event-id: "${'0123456789'.repeat(15)}"`,
    'open',
    `message "resumed" id "${'0123456789'.repeat(15)}"`,
  ]),
  {
    name: 'an id is kept across reconnections until the stream changes it',
    standard: '9.2.3 reestablish the connection',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      for (const body of ['retry: 1\nid: a\ndata: 1\n\n', ': nothing\n\n', 'id: b\ndata: 3\n\n', 'id\ndata: 4\n\n']) {
        const connection = await server.accept();
        await connection.send(body);
        await connection.end();
        await t.until(source, 'error');
      }
      await server.request();
    },
    expect: [
      'GET A',
      'open',
      'message "1" id "a"',
      'error CONNECTING',
      'GET A last-event-id: "a"',
      'open',
      'error CONNECTING',
      'GET A last-event-id: "a"',
      'open',
      'message "3" id "b"',
      'error CONNECTING',
      'GET A last-event-id: "b"',
      'open',
      'message "4"',
      'error CONNECTING',
      'GET A',
    ],
  },
  {
    name: 'an id survives a connection that breaks before the response',
    standard: '9.2.3 reestablish the connection',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\nid: 7\ndata: x\n\n');
      await first.end();
      await t.until(source, 'error');
      await (await server.request()).truncate();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: [
      'GET A',
      'open',
      'message "x" id "7"',
      'error CONNECTING',
      'GET A last-event-id: "7"',
      'error CONNECTING',
      'GET A last-event-id: "7"',
      'open',
    ],
  },
  ...['01', '7f'].map((byte) =>
    resumes(
      `an id with the control character ${byte} is sent unchanged`,
      [0x69, 0x64, 0x3a, parseInt(byte, 16), 0x0a, 0x64, 0x61, 0x74, 0x61, 0x0a, 0x0a],
      [
        'GET A',
        'open',
        `message "" id ${byte === '01' ? '"\\u0001"' : '"\\u007f"'}`,
        'error CONNECTING',
        `GET A last-event-id: <${byte}>`,
        'open',
        `message "resumed" id ${byte === '01' ? '"\\u0001"' : '"\\u007f"'}`,
      ],
      '9.2.3 reestablish the connection: Fetch forbids NUL, CR and LF in a header value and nothing else',
    ),
  ),
  {
    name: 'each source has its own last event ID',
    standard: '9.2.2 the last event ID string of an EventSource object',
    async run(t) {
      const server = t.stream();
      const one = t.open(server.url, {}, { as: 'one' });
      const first = await server.accept();
      await first.send('id: 7\ndata: x\n\n');
      await t.until(one, 'message');
      const two = t.open(server.url, {}, { as: 'two' });
      const second = await server.accept();
      await second.send('data: y\n\n');
      await t.until(two, 'message');
    },
    expect: ['GET A', 'one: open', 'one: message "x" id "7"', 'GET A', 'two: open', 'two: message "y"'],
  },
];
