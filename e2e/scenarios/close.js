// HTML Standard, 9.2.2 The EventSource interface: close(), at every moment of a source's life.

const standard = '9.2.2 close(); 9.2.3: tasks of a source whose readyState is CLOSED do nothing';

export default [
  {
    name: 'a source closed in the task that constructs it makes no request',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      t.note('close()', source.close());
      t.note('readyState', source.readyState);
      await t.fence();
    },
    expect: ['close() undefined', 'readyState 2'],
  },
  {
    name: 'a hundred sources opened and closed in one task make no request',
    standard,
    async run(t) {
      const server = t.stream();
      for (let i = 0; i < 100; i++) t.open(server.url).close();
      await t.fence();
      t.note('done');
    },
    expect: ['done'],
  },
  {
    name: 'a source closed before its response closes the connection',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const exchange = await server.request();
      source.close();
      t.note('readyState', source.readyState);
      await exchange.closed();
      await t.fence();
    },
    expect: ['GET A', 'readyState 2', 'connection closed by the client'],
  },
  {
    name: 'closing an open source closes the connection without an event',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept();
      await t.until(source, 'open');
      source.close();
      t.note('readyState', source.readyState);
      await connection.closed();
      await connection.send('data: too late\n\n');
      await t.fence();
    },
    expect: ['GET A', 'open', 'readyState 2', 'connection closed by the client'],
  },
  {
    name: 'a source closed in its open listener receives nothing',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.addEventListener('open', () => source.close());
      const connection = await server.accept();
      await connection.send('data: x\n\n');
      await t.until(source, 'open');
      await connection.closed();
      await t.fence();
    },
    expect: ['GET A', 'open', 'connection closed by the client'],
  },
  {
    name: 'a source closed in a message listener ignores the rest of the chunk',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url, {}, { types: ['x'] });
      source.addEventListener('message', () => source.close());
      source.addEventListener('message', () => t.note('the next listener of the event'));
      const connection = await server.accept();
      await connection.send('data: 1\n\ndata: 2\n\nevent: x\ndata: 3\n\n');
      await t.until(source, 'message');
      await connection.closed();
      await t.fence();
    },
    expect: ['GET A', 'open', 'message "1"', 'the next listener of the event', 'connection closed by the client'],
  },
  {
    name: "a source closed in a message listener's microtask ignores the rest of the chunk",
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.addEventListener('message', () => Promise.resolve().then(() => source.close()));
      const connection = await server.accept();
      await connection.send('data: 1\n\ndata: 2\n\n');
      await connection.closed();
      await t.fence();
    },
    expect: ['GET A', 'open', 'message "1"', 'connection closed by the client'],
  },
  {
    name: 'a source closed in its error listener does not reconnect',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.addEventListener('error', () => source.close());
      const connection = await server.accept();
      await connection.send('retry: 1\n\n');
      await connection.end();
      await t.until(source, 'error');
      await t.fence();
      t.note('readyState', source.readyState);
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'readyState 2'],
  },
  {
    name: 'a source closed while it waits to reconnect does not reconnect',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept();
      // The wait must last until close(), so it is long. The fence proves only that nothing happens at once.
      await connection.send('retry: 100000\n\n');
      await connection.end();
      await t.until(source, 'error');
      source.close();
      t.note('readyState', source.readyState);
      await t.fence();
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'readyState 2'],
  },
  {
    name: 'a source closed while it reconnects closes the connection',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\n\n');
      await first.end();
      await t.until(source, 'error');
      const second = await server.request();
      source.close();
      await second.closed();
      await t.fence();
      t.note('readyState', source.readyState);
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'GET A', 'connection closed by the client', 'readyState 2'],
  },
  {
    name: 'closing a failed source has no effect',
    standard,
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      await server.accept({ status: 404 });
      await t.until(source, 'error');
      source.close();
      t.note('readyState', source.readyState);
      await t.fence();
    },
    expect: ['GET A', 'error CLOSED', 'readyState 2'],
  },
  {
    name: 'closing a closed source has no effect',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const connection = await server.accept();
      await t.until(source, 'open');
      for (let i = 0; i < 3; i++) source.close();
      await connection.closed();
      source.close();
      await t.fence();
      t.note('readyState', source.readyState, source.url, source.withCredentials);
    },
    expect: ['GET A', 'open', 'connection closed by the client', 'readyState 2 A false'],
  },
  {
    name: 'a listener can close another source',
    standard,
    async run(t) {
      const [one, two] = [t.stream('A', '/one'), t.stream('A', '/two')];
      const first = t.open(one.url, {}, { as: 'one' });
      const connection = await one.accept();
      await t.until(first, 'open');
      const second = t.open(two.url, {}, { as: 'two' });
      const other = await two.accept();
      await t.until(second, 'open');
      second.onmessage = () => first.close();
      await other.send('data: x\n\n');
      await connection.closed();
      await other.send('data: y\n\n');
      await t.until(second, 'message');
      await t.until(second, 'message');
      await t.fence();
    },
    expect: [
      'GET A/one',
      'one: open',
      'GET A/two',
      'two: open',
      'two: message "x"',
      'connection closed by the client',
      'two: message "y"',
    ],
  },
  {
    name: 'a listener can close its source and open a new one',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url, {}, { as: 'old' });
      const opened = new Promise((resolve) => {
        source.addEventListener('message', () => {
          source.close();
          resolve(t.open(server.url, {}, { as: 'new' }));
        });
      });
      const connection = await server.accept();
      await connection.send('data: x\n\ndata: y\n\n');
      const replacement = await opened;
      await (await server.accept()).send('data: z\n\n');
      await t.until(replacement, 'message');
    },
    expect: ['GET A', 'old: open', 'old: message "x"', 'GET A', 'new: open', 'new: message "z"'],
  },
];
