// HTML Standard, 9.2.5 Parsing an event stream and 9.2.6 Interpreting an event stream, except for ids and retry.

const bom = [0xef, 0xbb, 0xbf];

const interpretation = '9.2.6 Interpreting an event stream';

/** Sends the chunks and ends the stream. Events are those between open and error. */
function parses(name, chunks, events, { standard = interpretation, types } = {}) {
  return {
    name,
    standard,
    chunks, // for cuts.js, which cuts the stream elsewhere
    types,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url, {}, { types });
      source.addEventListener('error', () => source.close());
      const connection = await server.accept();
      await connection.send(...chunks);
      await connection.end();
      await t.until(source, 'error');
    },
    expect: ['GET A', 'open', ...events, 'error CONNECTING'],
  };
}

const encode = (text) => Array.from(new TextEncoder().encode(text));

/** A stream that is hard to parse in chunks: all line ends, and characters of two, three and four bytes. */
const rich = encode('id: é1\r\nevent: ünï\rdata: a\n:✓\r\ndata: 💡\r\n\r\nretry: 9\rid\rdata\r\rdata:✓ \n\ndata:x\r\r\n');
const richEvents = ['ünï "a\\n💡" id "é1"', 'message ""', 'message "✓ "', 'message "x"'];

export default [
  parses('a data line followed by a blank line is an event', ['data: x\n\n'], ['message "x"']),
  parses('data lines are joined by line feeds', ['data: a\ndata: b\ndata\ndata: c\n\n'], ['message "a\\nb\\n\\nc"']),
  parses('empty data dispatches an event', ['data\n\n', 'data:\n\n', 'data: \n\n'], ['message ""', 'message ""', 'message ""']),
  parses('two empty data lines make one line feed', ['data\ndata\n\n'], ['message "\\n"']),
  parses('a block without data dispatches no event', ['event: x\n\n', ': comment\n\n', 'id\n\n', '\n\n\n', 'data: y\n\n'], ['message "y"'], {
    standard: '9.2.6 dispatch the event, step 2',
    types: ['x'],
  }),
  parses('an event type without data does not apply to the next event', ['event: x\n\ndata: y\n\n'], ['message "y"'], {
    standard: '9.2.6 dispatch the event, step 2: set the data buffer and the event type buffer to the empty string',
    types: ['x'],
  }),
  parses('an event type applies to one event only', ['event: x\ndata: 1\n\ndata: 2\n\n'], ['x "1"', 'message "2"'], { types: ['x'] }),
  parses('the last of several event types wins', ['event: x\nevent: y\ndata: 1\n\n'], ['y "1"'], { types: ['x', 'y'] }),
  parses('an empty event type means message', ['event: x\nevent:\ndata: 1\n\n', 'event\ndata: 2\n\n'], ['message "1"', 'message "2"'], {
    types: ['x'],
  }),
  parses('an event type may follow the data', ['data: 1\nevent: x\n\n'], ['x "1"'], { types: ['x'] }),
  parses('an event type may be message', ['event: message\ndata: 1\n\n'], ['message "1"']),
  parses('an event type is case-sensitive and keeps its spaces', ['event:  x \ndata: 1\n\n', 'event: X\ndata: 2\n\n'], [' x  "1"', 'X "2"'], {
    types: ['x', ' x ', 'X'],
  }),
  parses('an event type may be any text', ['event: 💡\ndata: 1\n\n', 'event: __proto__\ndata: 2\n\n'], ['💡 "1"', '__proto__ "2"'], {
    types: ['💡', '__proto__'],
  }),
  parses('one space after the colon is removed, and no more', ['data:x\n\ndata: x\n\ndata:  x\n\ndata:\tx\n\ndata: x \n\n'], [
    'message "x"',
    'message "x"',
    'message " x"',
    'message "\\tx"',
    'message "x "',
  ]),
  parses('only the first colon ends the field name', ['data:a:b\n\ndata::c\n\ndata: :d\n\n'], [
    'message "a:b"',
    'message ":c"',
    'message ":d"',
  ]),
  parses('field names are case-sensitive', ['Data: x\nDATA: y\ndata: z\nEvent: e\nID: 1\n\n'], ['message "z"'], { types: ['e'] }),
  parses('field names with spaces around them are unknown', [' data: x\ndata : y\n\tdata: z\ndata: ok\n\n'], ['message "ok"']),
  parses('unknown field names are ignored', ['dat: x\ndataa: x\nfoo\nfoo: bar\nnull: x\ndata: ok\n\n'], ['message "ok"']),
  parses('comments are ignored', [':\n: data: x\n:data: y\n::\ndata: a\n: between\ndata: b\n\n'], ['message "a\\nb"']),
  parses('an unterminated last line is discarded', ['data: x\n\ndata: y'], ['message "x"'], {
    standard: '9.2.5: the end of the file ends no line that a blank line must follow',
  }),
  parses('an event without a final blank line is discarded', ['data: x\n\ndata: y\n'], ['message "x"'], {
    standard: '9.2.6: once the end of the file is reached, any pending data must be discarded',
  }),
  parses('a CR at the end of the stream ends the last event', ['data: x\n\ndata: y\r\r'], ['message "x"', 'message "y"']),
  {
    name: 'an unfinished event does not carry over to the next connection',
    standard: '9.2.6: once the end of the file is reached, any pending data must be discarded',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url, {}, { types: ['x'] });
      const first = await server.accept();
      await first.send('retry: 1\nevent: x\ndata: lost\n');
      await first.end();
      const second = await server.accept();
      await second.send('data: new\n\n');
      await t.until(source, 'message');
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'GET A', 'open', 'message "new"'],
  },
  {
    name: 'a CR at the end of one connection does not affect a line feed that begins the next',
    standard: '9.2.5 Parsing an event stream',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\ndata: x\r\r');
      await first.end();
      const second = await server.accept();
      await second.send('\ndata: y\n\n');
      await t.until(source, 'message');
      await t.until(source, 'message');
    },
    expect: ['GET A', 'open', 'message "x"', 'error CONNECTING', 'GET A', 'open', 'message "y"'],
  },

  parses('lines end with CR, LF or CRLF', ['data: a\rdata: b\ndata: c\r\n\r\n', 'data: d\r\r', 'data: e\n\r\n', 'data: f\r\n\n'], [
    'message "a\\nb\\nc"',
    'message "d"',
    'message "e"',
    'message "f"',
  ]),
  parses('no other character ends a line', ['data: a\vb\fc\u0085d\u2028e\u2029f\n\n'], [
    'message "a\\u000bb\\fc\\u0085d\u2028e\u2029f"',
  ]),
  parses('CR LF split across two chunks is one line end', ['data: a\r', '\ndata: b\r', '\n\r', '\ndata: c\n\n'], [
    'message "a\\nb"',
    'message "c"',
  ]),
  parses('a line feed after CR LF split across chunks is a blank line', ['data: a\r', '\n', '\n', 'data: b\r', '\r', '\n', 'data: c\n\n'], [
    'message "a"',
    'message "b"',
    'message "c"',
  ]),
  {
    name: 'a CR dispatches an event without waiting for the next byte',
    standard: '9.2.5: a single CR is an end of line',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept();
      await connection.send('data: x\r\r');
      await t.until(source, 'message');
      await connection.send('\ndata: y\r\n\r');
      await t.until(source, 'message');
      await connection.send('\ndata: z\n\r');
      await t.until(source, 'message');
    },
    expect: ['GET A', 'open', 'message "x"', 'message "y"', 'message "z"'],
  },
  parses('a stream parses the same when sent byte by byte', rich.map((byte) => [byte]), richEvents, {
    standard: '9.2.5 Parsing an event stream',
    types: ['ünï'],
  }),
  parses(
    'a stream parses the same when cut in two anywhere',
    rich.flatMap((_, i) => [rich.slice(0, i), rich.slice(i)]).filter((chunk) => chunk.length > 0),
    rich.flatMap(() => richEvents),
    { standard: '9.2.5 Parsing an event stream', types: ['ünï'] },
  ),

  parses('a byte order mark at the start is removed', [[...bom, ...encode('data: x\n\n')]], ['message "x"'], {
    standard: '9.2.5: UTF-8 decode, which strips one leading byte order mark',
  }),
  parses('a byte order mark may arrive byte by byte', [[0xef], [0xbb], [0xbf], 'data: x\n\n'], ['message "x"'], {
    standard: '9.2.5: UTF-8 decode, which strips one leading byte order mark',
  }),
  parses('a second byte order mark is part of the field name', [[...bom, ...bom, ...encode('data: x\n\ndata: y\n\n')]], ['message "y"'], {
    standard: '9.2.5: UTF-8 decode, which strips one leading byte order mark',
  }),
  parses('a byte order mark on a later line is part of the field name', [
    [...encode('data: x\n'), ...bom, ...encode('data: y\n\n')],
  ], ['message "x"'], { standard: '9.2.5: UTF-8 decode, which strips one leading byte order mark' }),
  parses('a byte order mark in data is kept', [[...encode('data: x'), ...bom, ...encode('y\n\ndata:'), ...bom, ...encode('z\n\n')]], [
    'message "x\\ufeffy"',
    'message "\\ufeffz"',
  ], { standard: '9.2.5: UTF-8 decode, which strips one leading byte order mark' }),
  ...[['LF', '\n'], ['CR', '\r'], ['CRLF', '\r\n']].map(([name, end]) =>
    parses(`a byte order mark directly before ${name} is removed`, [[...bom, ...encode(`${end}data: x\n\ndata: y\n\n`)]], [
      'message "x"',
      'message "y"',
    ], { standard: '9.2.5: UTF-8 decode, which strips one leading byte order mark' }),
  ),
  parses('an incomplete byte order mark becomes a replacement character', [[0xef, 0xbb, ...encode('data: x\n\ndata: y\n\n')]], ['message "y"'], {
    standard: 'Encoding, UTF-8 decoder',
  }),
  {
    name: 'a byte order mark at the start of a later connection is removed',
    standard: '9.2.5: UTF-8 decode, which strips one leading byte order mark',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send([...bom, ...encode('retry: 1\ndata: x\n\n')]);
      await first.end();
      const second = await server.accept();
      await second.send([...bom, ...encode('data: y\n\n')]);
      await t.until(source, 'message');
      await t.until(source, 'message');
    },
    expect: ['GET A', 'open', 'message "x"', 'error CONNECTING', 'GET A', 'open', 'message "y"'],
  },

  parses('characters of two, three and four bytes may arrive byte by byte', [
    ...encode('data: é✓💡\n\n').map((byte) => [byte]),
  ], ['message "é✓💡"'], { standard: 'Encoding, UTF-8 decoder' }),
  parses('invalid bytes become replacement characters', [
    [...encode('data: a'), 0xff, ...encode('b'), 0xc0, 0x80, ...encode('c'), 0xed, 0xa0, 0x80, ...encode('d\n\n')],
  ], ['message "a�b��c���d"'], { standard: 'Encoding, UTF-8 decoder' }),
  parses('a truncated UTF-8 sequence becomes one replacement character', [
    [...encode('data: a'), 0xe2, 0x9c, ...encode('b'), 0xf0, 0x9f, 0x92, ...encode('c\n\n')],
  ], ['message "a�b�c"'], { standard: 'Encoding, UTF-8 decoder' }),
  parses('a truncated UTF-8 sequence does not include the line end', [
    [...encode('data: a'), 0xe2, 0x9c, ...encode('\n\ndata: b'), 0xf0, ...encode('\r\rdata: c\n\n')],
  ], ['message "a�"', 'message "b�"', 'message "c"'], { standard: 'Encoding, UTF-8 decoder' }),
  parses('a UTF-8 sequence does not continue in the next event', [
    [...encode('data: a'), 0xe2],
    encode('\n\ndata: '),
    [0x9c, 0x93, ...encode('b\n\n')],
  ], ['message "a�"', 'message "��b"'], { standard: 'Encoding, UTF-8 decoder' }),
  parses('invalid bytes make a field name unknown', [
    [...encode('da'), 0xff, ...encode('ta: x\ndata: y\n\n')],
  ], ['message "y"'], { standard: 'Encoding, UTF-8 decoder' }),
  parses('noncharacters and U+10FFFF are kept in data', ['data: \uffff\ufffe\u{10ffff}\n\n'], [
    'message "\uffff\ufffe\u{10ffff}"',
  ], { standard: 'Encoding, UTF-8 decoder' }),
  parses('NUL is kept in data, event types and field names', ['data: a\0b\n\nda\0ta: x\nevent: c\0d\ndata: y\n\n'], [
    'message "a\\u0000b"',
    'c\0d "y"',
  ], { types: ['c\0d'] }),

  {
    name: 'an event of 1 MiB arrives in full',
    standard: interpretation,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept();
      const data = '0123456789abcdé'.repeat(70_000);
      await connection.send(`data: ${data}\n\n`);
      t.note('as it was sent:', (await t.until(source, 'message')).data === data);
    },
    expect: ['GET A', 'open', 'message of 1050000 code units', 'as it was sent: true'],
  },
  {
    name: 'events of 100 kB arrive in full from many chunks',
    standard: interpretation,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept();
      const line = 'x✓'.repeat(500);
      for (let i = 0; i < 3; i++) {
        for (let j = 0; j < 100; j += 10) await connection.send(`data: ${line}\n`.repeat(10));
        await connection.send('\n');
        const { data } = await t.until(source, 'message');
        t.note('as it was sent:', data === Array(100).fill(line).join('\n'));
      }
    },
    expect: [
      'GET A',
      'open',
      ...Array(3).fill(['message of 100099 code units', 'as it was sent: true']).flat(),
    ],
  },
  {
    name: 'a thousand events in one chunk arrive in order',
    standard: interpretation,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept();
      await connection.send(Array.from({ length: 1000 }, (_, i) => `id: ${i}\ndata: ${i}\n\n`).join(''));
      for (let i = 0; i < 1000; i++) await t.until(source, 'message');
    },
    expect: ['GET A', 'open', ...Array.from({ length: 1000 }, (_, i) => `message "${i}" id "${i}"`)],
  },
  {
    name: 'an event of type open or error is a MessageEvent and changes no state',
    standard: '9.2.6 dispatch the event, step 5: the type may be any',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept();
      await connection.send('event: open\ndata: x\n\nevent: error\ndata: y\n\ndata: z\n\n');
      await t.until(source, 'message');
    },
    expect: ['GET A', 'open', 'open "x"', 'error "y"', 'message "z"'],
  },
];
