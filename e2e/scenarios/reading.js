// Other ways to read a source (loops, all types, parsed data, comments), and its diagnostics.
import { failedToLoad, own, refuse, scenario, tell } from '../harness/addition.js';
import { OPENING } from '../harness/stream.js';

/** An open source and its connection. */
async function opened(t, server, init) {
  const source = t.open(server.url, init);
  const connection = await server.accept();
  await t.until(source, 'open');
  return { source, connection };
}

const text = (events) => events.map((event) => `${event.type} ${event.data}`).join(', ');

export default [
  scenario('for await reads all types across reconnections, and break closes the source', async (t, server) => {
    const source = t.open(server.url);
    const loop = (async () => {
      const seen = [];
      for await (const event of source) {
        seen.push(event);
        if (event.data === 'last') break;
      }
      t.note(text(seen), source.readyState, seen.every((event) => event instanceof MessageEvent && event.target === source));
    })();
    const first = await server.accept();
    await first.send('retry: 1\nevent: a\ndata: x\n\ndata: y\n\n');
    await t.until(source, 'message');
    await first.end();
    await (await server.accept()).send('data: last\n\ndata: behind\n\n');
    await loop;
  }, [
    'GET A', 'open', 'message "y"', 'error CONNECTING', 'GET A', 'open', 'message "last"', 'a x, message y, message last 2 true',
  ]),
  scenario('for await reads the remaining events and ends when the source is closed', async (t, server) => {
    const { source, connection } = await opened(t, server);
    const events = source[Symbol.asyncIterator]();
    await connection.send('data: x\n\ndata: y\n\n');
    await t.until(source, 'message');
    await t.until(source, 'message');
    source.close();
    const rest = [await events.next(), await events.next(), await events.next(), await source[Symbol.asyncIterator]().next()];
    t.note(rest.map(({ value, done }) => value?.data ?? done));
  }, ['GET A', 'open', 'message "x"', 'message "y"', '["x","y",true,true]']),
  scenario('for await throws when the source fails, and ends when its only stream ends', async (t, server) => {
    const refused = t.open(server.url);
    const failing = refused[Symbol.asyncIterator]().next().catch((error) => t.note(error.message, error.cause.status));
    await (await server.accept({ status: 403 })).end();
    await failing;
    const given = t.EventSource.fromReadableStream(new Blob(['data: x\n\n']).stream());
    const seen = [];
    for await (const event of given) seen.push(event);
    t.note(text(seen));
  }, ['GET A', 'error CLOSED', 'EventSource: status 403', 'message x'], failedToLoad),
  ...[
    ['oldest', 'b c'],
    ['newest', 'a b'],
  ].map(([full, kept]) =>
    scenario(`a full buffer drops the ${full} event`, async (t, server) => {
      const { source, connection } = await opened(t, server, { buffer: { size: 2, full } });
      const events = source[Symbol.asyncIterator]();
      await connection.send('data: a\n\ndata: b\n\ndata: c\n\n');
      for (let i = 0; i < 3; i++) await t.until(source, 'message');
      source.close();
      t.note([await events.next(), await events.next()].map(({ value }) => value.data).join(' '), (await events.next()).done);
    }, ['GET A', 'open', 'message "a"', 'message "b"', 'message "c"', `${kept} true`])),
  scenario('a full buffer pauses the stream and loses nothing', async (t, server) => {
    const { source, connection } = await opened(t, server, { buffer: { size: 2 } });
    const events = source[Symbol.asyncIterator]();
    await connection.send('data: a\n\ndata: b\n\ndata: c\n\ndata: d\n\n');
    await t.until(source, 'message');
    await t.until(source, 'message');
    await t.fence();
    t.note('waits');
    t.note((await events.next()).value.data);
    await t.until(source, 'message');
    source.close();
    t.note([await events.next(), await events.next(), await events.next()].map(({ value }) => value?.data));
  }, ['GET A', 'open', 'message "a"', 'message "b"', 'waits', 'a', 'message "c"', '["b","c",null]']),
  scenario('onEvent is called after the listeners of every event, and may throw', async (t, server) => {
    const { source, connection } = await opened(t, server, {
      onEvent(event) {
        t.note('onEvent', event.type, event.data, event.target === source);
        if (event.data === '1') throw new Error('thrown');
        if (event.data === '3') source.close();
      },
    });
    await connection.send('event: *\ndata: 1\n\ndata: 2\n\nevent: error\ndata: 3\n\ndata: 4\n\n');
    await connection.closed();
  }, [
    'GET A', 'open', 'onEvent * 1 true', 'uncaught Error: thrown', 'message "2"', 'onEvent message 2 true', 'error "3"', 'onEvent error 3 true',
    'connection closed by the client',
  ]),
  scenario('parse converts data; if it throws, an error event fires and the stream goes on', async (t, server) => {
    const source = t.open(server.url, { parse: (data, type) => ({ type, ...JSON.parse(data) }) });
    const connection = await server.accept();
    source.addEventListener('tick', ({ data, origin }) => t.note(data, origin));
    source.addEventListener('error', ({ reason, willRetry, status, cause }) => t.note(reason, willRetry, status, cause?.name ?? 'no cause'));
    await connection.send('event: tick\ndata: {"n":1}\n\ndata: {\nid: 7\n\nevent: tick\ndata: {"n":2}\n\n');
    await t.until(source, 'error');
    await connection.send('retry: 1\n\n');
    await connection.end();
    await server.accept();
    await t.until(source, 'open');
    await t.until(source, 'open');
  }, [
    'GET A', 'open', '{"type":"tick","n":1} A', 'error OPEN', 'parse false 200 SyntaxError', '{"type":"tick","n":2} A',
    'error CONNECTING', 'ended true 200 no cause', 'GET A last-event-id: "7"', 'open',
  ]),
  ...[['returns data', (data) => data], ['throws', () => { throw new Error(); }]].map(([what, ends]) =>
    scenario(`a parse function that closes its source and ${what} ends the events`, async (t, server) => {
      const { source, connection } = await opened(t, server, {
        onEvent: ({ data }) => t.note('onEvent', data),
        parse(data) {
          if (data !== '2') return data;
          source.close();
          return ends(data);
        },
      });
      await connection.send('data: 1\n\ndata: 2\n\ndata: 3\n\n');
      await connection.closed();
      await t.fence();
    }, ['GET A', 'open', 'message "1"', 'onEvent 1', 'connection closed by the client'])),
  scenario('onComment is called with comments in order', async (t, server) => {
    const onComment = (comment) => `:${comment}\n` === OPENING || t.note('comment', comment);
    const { source, connection } = await opened(t, server, { onComment });
    await connection.send(': a é\n:\ndata: x\n: b', 'c\n\n:d\n');
    await t.until(source, 'message');
    await connection.send('data: y\n\n');
    await t.until(source, 'message');
  }, ['GET A', 'open', 'comment a é', 'comment ', 'comment bc', 'message "x"', 'comment d', 'message "y"']),
  ...[
    ['data', {}, 'data: 12345\n\n'],
    ['with onComment, a comment', { onComment() {} }, ':12345\n'],
  ].map(([what, init, larger]) =>
    scenario(`${what} larger than maxEventSize fails the connection`, async (t, server) => {
      const { source, connection } = await opened(t, server, { maxEventSize: 4, ...init });
      tell(t, source, 'error', 'reason', 'willRetry');
      await connection.send(`data: 1234\n\n${larger}data: x\n\n`);
      await t.until(source, 'error');
      await connection.closed();
    }, [
      'GET A', 'open', 'message "1234"', 'error CLOSED', 'reason "limit" willRetry false', 'connection closed by the client',
    ])),
  ...[
    ['a status', { status: 503 }, 'status'],
    ['a content type', { headers: { 'Content-Type': 'text/html' } }, 'content-type'],
  ].map(([what, response, reason]) =>
    scenario(`errorBodySize adds the start of the body to an error for ${what}`, async (t, server) => {
      const source = t.open(server.url, { errorBodySize: 7 });
      tell(t, source, 'error', 'reason', 'body');
      const connection = await server.accept(response);
      await connection.send('try é later');
      await connection.end();
      await t.until(source, 'error');
      const without = t.open(server.url);
      tell(t, without, 'error', 'reason', 'body');
      const second = await server.accept(response);
      await second.send('x');
      await second.end();
      await t.until(without, 'error');
    }, [
      'GET A', 'error CLOSED', `reason "${reason}" body "try é "`, 'GET A', 'error CLOSED', `reason "${reason}" body undefined`,
    ], reason === 'status' ? failedToLoad : { console: [] })),
  scenario('errorBodySize leaves no timer after the error', async (t, server) => {
    const { setTimeout, clearTimeout } = globalThis;
    const timers = new Set();
    globalThis.setTimeout = (f, delay, ...args) => {
      const timer = setTimeout(f, delay, ...args);
      if (delay === 1000) timers.add(timer);
      return timer;
    };
    globalThis.clearTimeout = (timer) => {
      timers.delete(timer);
      clearTimeout(timer);
    };
    const source = t.open(server.url, { errorBodySize: 100 });
    const connection = await server.accept({ status: 500 });
    await connection.end();
    await t.until(source, 'error');
    Object.assign(globalThis, { setTimeout, clearTimeout });
    t.note('timers', timers.size);
  }, ['GET A', 'error CLOSED', 'timers 0'], failedToLoad),
  scenario('errorBodySize does not delay an error for long if no body arrives', async (t, server) => {
    const { setTimeout } = globalThis;
    globalThis.setTimeout = (f, delay, ...args) => setTimeout(f, delay === 1000 ? 0 : delay, ...args);
    const source = t.open(server.url, { errorBodySize: 100 });
    // Firefox does not report a response before its first byte, so the harness sends one.
    source.onerror = ({ reason, body }) => t.note(reason, body === '' || body === OPENING ? 'nothing' : body);
    await server.accept({ status: 500 });
    await t.until(source, 'error');
    globalThis.setTimeout = setTimeout;
  }, ['GET A', 'error CLOSED', 'status nothing'], failedToLoad),
  scenario('freezing the diagnostics array does not stop the source', async (t, server) => {
    const diagnostics = [];
    const source = t.open(server.url, { diagnostics });
    const connection = await server.accept();
    await t.until(source, 'open');
    Object.freeze(diagnostics);
    await connection.send('retry: 1\ndata: x\n\n');
    await t.until(source, 'message');
    await connection.end();
    await server.accept();
    await t.until(source, 'open');
  }, ['GET A', 'open', 'message "x"', 'error CONNECTING', 'GET A', 'open']),
  scenario('a function gets the diagnostics, which contain no secrets', async (t) => {
    const server = t.stream('A', '/path?token=secret');
    const entries = [];
    const source = t.open(server.url, { headers: { Authorization: 'secret' }, diagnostics: (entry) => entries.push(entry) });
    const connection = await server.accept();
    await connection.send('retry: 1\nid: secret\n\n');
    await t.until(source, 'open');
    await connection.end();
    await server.accept();
    await t.until(source, 'open');
    source.close();
    await undefined;
    // This scenario does not test which engine runs when.
    for (const { time, ...entry } of entries) if (entry.what !== 'engine') t.note(Number.isInteger(time), entry);
    t.note(JSON.stringify(entries).includes('secret'));
    const few = [];
    const last = t.open(t.stream().url, { diagnostics: few, diagnosticsSize: 1 });
    last.close();
    t.note(few.map(({ what }) => what));
  }, [
    'GET A/path?token=secret authorization: "secret"', 'open', 'error CONNECTING',
    'GET A/path?token=secret authorization: "secret" last-event-id: "secret"', 'open',
    'true {"what":"request","url":"A/path","attempt":1,"resumed":false}',
    'true {"what":"open","url":"A/path","attempt":1,"resumed":false,"status":200}',
    'true {"what":"error","url":"A/path","attempt":1,"resumed":false,"status":200,"reason":"ended","willRetry":true,"retryIn":1}',
    'true {"what":"request","url":"A/path","attempt":1,"resumed":true}',
    'true {"what":"open","url":"A/path","attempt":1,"resumed":true,"status":200}',
    'true {"what":"close","url":"A/path","attempt":1,"resumed":true,"status":200}',
    'false',
    '["close"]',
  ]),
  scenario('a function that gets the diagnostics may throw, and close the source', async (t, server) => {
    const source = t.open(server.url, {
      diagnostics({ what }) {
        if (what === 'open') throw new Error('thrown');
        if (what === 'error') source.close();
      },
    });
    const connection = await server.accept();
    await connection.send('data: x\n\n');
    await t.until(source, 'message');
    await connection.end();
    await t.until(source, 'error');
    t.note(source.readyState);
  }, ['GET A', 'open', 'uncaught Error: thrown', 'message "x"', 'error CONNECTING', '2']),
  {
    name: 'an option of the wrong type or out of range throws a TypeError that names it',
    ...own,
    run(t) {
      refuse(t, [
        { parse: {} }, { onEvent: 'f' }, { onComment: 1 }, { buffer: 1 }, { buffer: { size: 0 } }, { buffer: { full: 'drop' } },
        { errorBodySize: 65_537 }, { diagnostics: {} }, { diagnosticsSize: 0 },
      ]);
    },
    expect: [
      'parse', 'onEvent', 'onComment', 'buffer', 'buffer.size', 'buffer.full', 'errorBodySize', 'diagnostics', 'diagnosticsSize',
    ].map((name) => `TypeError ${name}`),
  },
];
