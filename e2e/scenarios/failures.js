// HTML Standard, 9.2.3 Processing model: the responses that "fail the connection".

const rejected = ['GET A', 'error CLOSED', 'connection closed by the client'];

/** Sends a response whose body never ends, so only the source can close the connection. */
function fails(name, response, body) {
  return {
    name,
    standard: '9.2.3 fetch, processResponse step 2: fail the connection',
    console: ['Failed to load resource', 'MIME type', 'charset'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const exchange = await server.accept(response);
      if (body) await exchange.send(body);
      await t.until(source, 'error');
      await exchange.closed();
      await t.fence();
    },
    expect: rejected,
  };
}

/** Long enough for browsers that sniff the type of a response from its body. */
const sniffable = `:${'x'.repeat(1024)}\n`;

/** Sends one event in a response without a Content-Type. The body ends only after readyState was noted. */
function failsAtOnce(name, headers) {
  return {
    name,
    standard: '9.2.3 fetch, processResponse; MIME Sniffing, which Fetch does not apply here',
    console: ['MIME type'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const exchange = await server.accept({ headers: { 'Content-Type': null, ...headers } });
      await exchange.send('data: x\n\n');
      await t.fence();
      t.note('readyState', source.readyState);
      await exchange.end();
      await t.until(source, 'error');
    },
    expect: ['GET A', 'error CLOSED', 'readyState 2'],
  };
}

function opens(name, headers, more) {
  return {
    name,
    standard: '9.2.3 fetch, processResponse step 3: announce the connection',
    ...more,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const exchange = await server.accept({ headers });
      await exchange.send('data: Grüße\n\n');
      await Promise.race([t.until(source, 'message'), t.until(source, 'error')]);
    },
    expect: ['GET A', 'open', 'message "Grüße"'],
  };
}

const statuses = [201, 202, 203, 205, 206, 300, 301, 305, 400, 401, 403, 404, 405, 408, 410, 429, 500, 502, 503, 504, 599];
const withoutBody = [204, 304];

export default [
  ...statuses.map((status) => fails(`status ${status} fails the connection`, { status })),
  ...withoutBody.map((status) => fails(`status ${status} fails the connection`, { status })),
  {
    name: 'a failed source fires one error event and never reconnects',
    standard: '9.2.3 fail the connection',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const exchange = await server.accept({ status: 404 });
      await exchange.send('retry: 1\n\n', 'data: not an event of the stream\n\n');
      await t.until(source, 'error');
      await exchange.closed();
      await t.fence();
      t.note('readyState', source.readyState);
    },
    expect: [...rejected, 'readyState 2'],
  },
  fails('text/plain fails the connection', {
    headers: { 'Content-Type': 'text/plain', 'X-Content-Type-Options': 'nosniff' },
  }),
  fails('text/html fails the connection', { headers: { 'Content-Type': 'text/html' } }),
  fails('a response without a Content-Type fails the connection', { headers: { 'Content-Type': null } }, sniffable),
  failsAtOnce('a response without a Content-Type fails the connection before its body ends'),
  failsAtOnce('a nosniff response without a Content-Type fails the connection before its body ends', {
    'X-Content-Type-Options': 'nosniff',
  }),
  fails('an empty Content-Type fails the connection', { headers: { 'Content-Type': '' } }, sniffable),
  fails('a MIME type that only begins with text/event-stream fails the connection', {
    headers: { 'Content-Type': 'text/event-streams' },
  }),
  fails('application/event-stream fails the connection', { headers: { 'Content-Type': 'application/event-stream' } }),
  fails('text/plain after text/event-stream fails the connection', {
    headers: { 'Content-Type': 'text/event-stream, text/plain', 'X-Content-Type-Options': 'nosniff' },
  }),
  ...['iso-8859-1', 'utf-16', 'windows-1252', 'UTF8'].map((charset) =>
    opens(`charset ${charset} is ignored`, { 'Content-Type': `text/event-stream; charset=${charset}` }, {
      standard: '9.2.5: streams are always UTF-8, and there is no way to specify another encoding',
      console: ['has a charset'],
    }),
  ),
  opens('charset utf-8 opens the connection', { 'Content-Type': 'text/event-stream; charset=utf-8' }),
  opens('charset "UTF-8" in quotes and capitals opens the connection', { 'Content-Type': 'text/event-stream;charset="UTF-8"' }),
  opens('an empty charset opens the connection', { 'Content-Type': 'text/event-stream; charset=' }),
  opens('an unknown MIME type parameter is ignored', { 'Content-Type': 'text/event-stream; version=1; foo="bar;baz"' }),
  opens('the MIME type is case-insensitive', { 'Content-Type': 'TEXT/Event-Stream' }),
  opens('text/event-stream after text/plain opens the connection', { 'Content-Type': 'text/plain, text/event-stream' }),
  opens('spaces around the MIME type are ignored', { 'Content-Type': ' \ttext/event-stream \t; charset=utf-8' }),
];
