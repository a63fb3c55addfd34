// HTML Standard, 9.2.3 Processing model: "announce the connection" and "reestablish the connection".

export default [
  {
    name: 'a source opens when the response headers arrive, before the body',
    standard: '9.2.3 announce the connection: when the response has come, not its body',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept({ headAlone: true });
      await t.fence();
      t.note('readyState', source.readyState);
      await connection.send(':\n');
      await t.until(source, 'open');
    },
    expect: ['GET A', 'open', 'readyState 1'],
  },
  {
    name: 'a source reconnects after its stream ends',
    standard: '9.2.3 reestablish the connection',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\n\n', 'data: before\n\n');
      await first.end();
      const second = await server.accept();
      await second.send('data: after\n\n');
      await t.until(source, 'message');
      await t.until(source, 'message');
    },
    expect: ['GET A', 'open', 'message "before"', 'error CONNECTING', 'GET A', 'open', 'message "after"'],
  },
  {
    name: 'a source reconnects after its connection is reset',
    standard: '9.2.3 fetch, processResponseEndOfBody: a network error',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\n\n', 'data: before\n\n');
      await t.until(source, 'message');
      await first.reset();
      const second = await server.accept();
      await second.send('data: after\n\n');
      await t.until(source, 'message');
    },
    expect: ['GET A', 'open', 'message "before"', 'error CONNECTING', 'GET A', 'open', 'message "after"'],
  },
  {
    name: 'a source reconnects after a chunked stream without its last chunk',
    standard: '9.2.3 fetch, processResponseEndOfBody: a network error',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\n\n', 'data: before\n\n');
      await t.until(source, 'message');
      await first.truncate();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: ['GET A', 'open', 'message "before"', 'error CONNECTING', 'GET A', 'open'],
  },
  {
    name: 'a source reconnects after a stream shorter than its Content-Length',
    standard: '9.2.3 fetch, processResponseEndOfBody: a network error',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept({ headers: { 'Content-Length': 1000 } });
      await first.send('retry: 1\n\n', 'data: before\n\n');
      await t.until(source, 'message');
      await first.truncate();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: ['GET A', 'open', 'message "before"', 'error CONNECTING', 'GET A', 'open'],
  },
  {
    name: 'a source reconnects after a stream of exactly its Content-Length',
    standard: '9.2.3 reestablish the connection',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const body = 'retry: 1\n\ndata: whole\n\n';
      const first = await server.accept({ headers: { 'Content-Length': body.length } });
      await first.send(body);
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: ['GET A', 'open', 'message "whole"', 'error CONNECTING', 'GET A', 'open'],
  },
  {
    name: 'a source reconnects after a stream that ends with its connection',
    standard: '9.2.3 reestablish the connection',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept({ headers: { 'Transfer-Encoding': null } });
      await first.send('retry: 1\n\n', 'data: whole\n\n');
      await first.truncate();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: ['GET A', 'open', 'message "whole"', 'error CONNECTING', 'GET A', 'open'],
  },
  {
    name: 'a source opens and reconnects after an empty body',
    standard: '9.2.3 announce the connection, then reestablish it',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.addEventListener('error', () => source.close());
      const first = await server.accept();
      await first.end();
      await t.until(source, 'error');
    },
    expect: ['GET A', 'open', 'error CONNECTING'],
  },
  {
    name: 'a connection that breaks before the response is retried without an open event',
    standard: '9.2.3 fetch, processResponse: a network error',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\n\n');
      await first.end();
      await (await server.request()).truncate();
      await (await server.request()).truncate();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'GET A', 'error CONNECTING', 'GET A', 'error CONNECTING', 'GET A', 'open'],
  },
  {
    name: 'a connection reset before the response is retried',
    standard: '9.2.3 fetch, processResponse: a network error',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\n\n');
      await first.end();
      await (await server.request()).reset();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'GET A', 'error CONNECTING', 'GET A', 'open'],
  },
  {
    name: 'a status other than 200 on reconnection fails the connection',
    standard: '9.2.3 fetch, processResponse: the status is not 200',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\n\n');
      await first.end();
      const second = await server.accept({ status: 503 });
      await t.until(source, 'error');
      await t.until(source, 'error');
      await second.closed();
      await t.fence();
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'GET A', 'error CLOSED', 'connection closed by the client'],
  },
  {
    name: 'each of ten connections fires an open event',
    standard: '9.2.3 reestablish the connection',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      for (let i = 0; i < 10; i++) {
        const connection = await server.accept();
        await connection.send('retry: 0\n', `id: ${i}\ndata: ${i}\n\n`);
        await t.until(source, 'message');
        if (i === 9) source.close();
        await connection.end();
        if (i < 9) await t.until(source, 'error');
      }
      await t.fence();
    },
    expect: Array.from({ length: 10 }, (_, i) => [
      i ? `GET A last-event-id: "${i - 1}"` : 'GET A',
      'open',
      `message "${i}" id "${i}"`,
      ...(i < 9 ? ['error CONNECTING'] : []),
    ]).flat(),
  },
  {
    name: 'a source that reconnects does not affect another',
    standard: '9.2.3 reestablish the connection',
    async run(t) {
      const steady = t.stream('A', '/steady');
      const broken = t.stream('A', '/broken');
      const one = t.open(steady.url, {}, { as: 'steady' });
      const first = await steady.accept();
      await t.until(one, 'open');
      const two = t.open(broken.url, {}, { as: 'broken' });
      const second = await broken.accept();
      await t.until(two, 'open');
      await second.send('retry: 1\n\n');
      await second.end();
      await broken.accept();
      await t.until(two, 'open');
      await first.send('data: still here\n\n');
      await t.until(one, 'message');
    },
    expect: [
      'GET A/steady',
      'steady: open',
      'GET A/broken',
      'broken: open',
      'broken: error CONNECTING',
      'GET A/broken',
      'broken: open',
      'steady: message "still here"',
    ],
  },
];
