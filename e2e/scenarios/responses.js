// Fetch and HTTP: a source does not see how a body is encoded and transferred.

const coding = 'Fetch, HTTP-network fetch: handle content codings; 9.2.3 process the body as it arrives';

/** A stored block, which is not compressed, in Deflate (RFC 1951, 3.2.4). */
const stored = (bytes) => [0, bytes.length, 0, ~bytes.length & 0xff, 0xff, ...bytes];

/** The content codings. Each part of a stream is a block without compression, as if the encoder were flushed after it. */
const codings = {
  gzip: { head: [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], block: stored },
  deflate: { head: [0x78, 0x01], block: stored },
  // RFC 7932, 9: a window of 64 KiB, then meta-blocks without compression, of up to 64 KiB, and one that is empty.
  br: {
    head: [0x0c],
    block: (bytes) => {
      const bits = ((bytes.length - 1) << 3) | (1 << 19); // not last, four nibbles, the length, not compressed
      return [bits & 0xff, (bits >> 8) & 0xff, bits >> 16, ...bytes];
    },
  },
  // RFC 8878, 3.1.1: a frame with a window of 1 MiB, then raw blocks.
  zstd: {
    head: [0x28, 0xb5, 0x2f, 0xfd, 0, 0x50],
    block: (bytes) => [(bytes.length << 3) & 0xff, bytes.length >> 5, 0, ...bytes],
  },
};

const encode = (text) => [...new TextEncoder().encode(text)];

export default [
  ...Object.entries(codings).map(([name, { head, block }]) => ({
    name: `a stream with Content-Encoding: ${name} is decoded as it arrives`,
    standard: coding,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept({ headers: { 'Content-Encoding': name } });
      await connection.send([...head, ...block(encode('data: x\n\n'))]);
      await t.until(source, 'message');
      await connection.send(block(encode('retry: 1\nid: 1\ndata: ü')), block(encode('\n\n')));
      await t.until(source, 'message');
      await connection.reset();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    console: ['Failed to load resource'],
    expect: ['GET A', 'open', 'message "x"', 'message "ü" id "1"', 'error CONNECTING', 'GET A last-event-id: "1"', 'open'],
  })),
  {
    name: 'a source reconnects after a body that does not match its Content-Encoding',
    standard: '9.2.3: a network error while the body is read, after it was opened',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.addEventListener('error', () => source.close());
      const connection = await server.accept({ headers: { 'Content-Encoding': 'gzip' } });
      await connection.send('data: this is not gzip\n\n');
      await t.until(source, 'error');
    },
    expect: ['GET A', 'open', 'error CONNECTING'],
  },
  {
    name: 'bytes after the Content-Length are ignored',
    standard: 'HTTP (RFC 9112, 6.3)',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.addEventListener('error', () => source.close());
      const connection = await server.accept({ headers: { 'Content-Length': 9 } });
      await connection.send('data: x\n\ndata: y\n\n');
      await t.until(source, 'error');
    },
    expect: ['GET A', 'open', 'message "x"', 'error CONNECTING'],
  },
  {
    name: 'six sources connect to a server at a time, and closing one admits the next',
    standard: '9.2.1, a note: clients that support per-server connection limitations; 9.2.3 no limit on the wait',
    leftOut: { webkit: 'WebKitGTK opens so few connections in total that the page of the suite would wait for one itself.' },
    async run(t) {
      const server = t.stream('B', '', { record: false });
      const allow = { headers: { 'Access-Control-Allow-Origin': '*' } };
      const sources = Array.from({ length: 8 }, () => new t.EventSource(server.url));
      for (const source of sources) source.onerror = () => t.note('error');
      const open = () => sources.filter(({ readyState }) => readyState === 1);
      const open6 = () => new Promise((resolve) => {
        for (const source of sources) source.onopen = () => open().length === 6 && resolve(); // any six
      });
      const first = open6();
      for (let i = 0; i < 6; i++) await server.accept(allow);
      await t.begin();
      await t.waiting('six sources to open', first);
      await t.fence();
      t.note(`${open().length} are open`);
      for (let i = 0; i < 2; i++) {
        open()[0].close();
        const another = open6();
        await server.accept(allow);
        await t.begin();
        await t.waiting('another source to open', another);
        t.note(`${open().length} are open`);
      }
      for (const source of sources) source.close();
    },
    expect: ['6 are open', '6 are open', '6 are open'],
  },
];
