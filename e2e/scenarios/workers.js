// HTML Standard, 9.2.2: EventSource is exposed in windows and workers. A worker's source resolves its URL against the
// worker's API base URL and has the worker's origin.

const standard = '9.2.2 [Exposed=(Window,Worker)]';

const scripts = { module: 'worker.mjs', service: 'service.mjs' };
const kinds = ['dedicated', 'module', 'shared', 'blob', 'service'];

export default [
  ...kinds.map((kind) => ({
    name: `a source in a ${kind} worker receives, reconnects and closes`,
    standard,
    async run(t) {
      const server = t.stream();
      const worker = await t.realm(kind);
      worker.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\nid: é\ndata: x\n\n');
      await t.until(worker, 'message');
      await first.end();
      await t.until(worker, 'error');
      const second = await server.accept();
      await second.send('data: y\n\n');
      await t.until(worker, 'message');
      worker.close();
      await second.closed();
    },
    expect: [
      'GET A',
      'open',
      'message "x" id "é"',
      'error CONNECTING',
      'GET A last-event-id: <c3 a9>',
      'open',
      'message "y" id "é"',
      'connection closed by the client',
    ],
  })),
  ...kinds.map((kind) => ({
    name: `a source in a ${kind} worker fails on status 404`,
    standard,
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const worker = await t.realm(kind);
      worker.open(server.url);
      const exchange = await server.accept({ status: 404 });
      await t.until(worker, 'error');
      await exchange.closed();
    },
    expect: ['GET A', 'error CLOSED', 'connection closed by the client'],
  })),
  ...['dedicated', 'module', 'shared', 'service'].map((kind) => ({
    name: `a URL in a ${kind} worker is resolved against the worker's URL`,
    standard: '9.2.2 constructor, step 3; HTML, a worker environment settings object',
    async run(t) {
      const worker = await t.realm(kind);
      for (const url of ['x', '/x', '?x']) await worker.noteClosed(url, 'url');
      await worker.noteClosed('http://[', 'url');
    },
    expect: ['A/harness/x', 'A/x', `A/harness/${scripts[kind] ?? 'worker.js'}?x`, 'throws SyntaxError'],
  })),
  {
    name: 'a source in a data: worker, whose origin is opaque, receives and reconnects',
    standard: '9.2.2; HTML, a worker environment settings object: "a unique opaque origin"',
    async run(t) {
      const server = t.stream();
      const worker = await t.realm('data');
      const allow = { headers: { 'Access-Control-Allow-Origin': 'null' } };
      worker.open(server.url);
      const first = await server.accept(allow);
      await first.send('retry: 1\ndata: x\n\n');
      await t.until(worker, 'message');
      await first.end();
      await t.until(worker, 'error');
      const second = await server.accept(allow);
      await t.until(worker, 'open');
      await t.until(worker, 'open');
      worker.close();
      await second.closed();
      await worker.noteClosed('/x', 'url');
    },
    expect: [
      'GET A origin: "null"',
      'open',
      'message "x"',
      'error CONNECTING',
      'GET A origin: "null"',
      'open',
      'connection closed by the client',
      'throws SyntaxError',
    ],
  },
  {
    name: 'a relative URL in a blob worker cannot be resolved',
    standard: '9.2.2 constructor, step 4; HTML, a worker environment settings object',
    async run(t) {
      const worker = await t.realm('blob');
      await worker.noteClosed('/x', 'url');
    },
    expect: ['throws SyntaxError'],
  },
  ...kinds.map((kind) => ({
    name: `a source closed at once in a ${kind} worker makes no request`,
    standard: '9.2.2 close()',
    async run(t) {
      const [unused, server] = [t.stream(), t.stream()];
      const worker = await t.realm(kind);
      await worker.noteClosed(unused.url, 'readyState');
      worker.open(server.url);
      await server.accept();
      await t.until(worker, 'open');
    },
    expect: ['2', 'GET A', 'open'],
  })),
  {
    name: 'terminating a worker closes the connection',
    standard: '9.2.3: if the document or worker is destroyed; 9.2.9 Garbage collection',
    async run(t) {
      const server = t.stream();
      const worker = await t.realm('dedicated');
      worker.open(server.url);
      const connection = await server.accept();
      await t.until(worker, 'open');
      worker.terminate();
      await connection.closed();
    },
    expect: ['GET A', 'open', 'connection closed by the client'],
  },
];
