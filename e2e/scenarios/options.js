// Our additions: options of the constructor other than headers, and the properties of events.

import { failedToLoad, lockedStream, own, refuse, scenario, tell } from '../harness/addition.js';

const hour = 3_600_000;

/** A clock for timers of an hour, which passes when advance is called. Shorter timers are the browser's. */
function ownClock() {
  const { performance, setTimeout } = globalThis;
  const realNow = performance.now.bind(performance);
  let [skew, due, timer] = [0, Infinity, null];
  performance.now = () => realNow() + skew;
  globalThis.setTimeout = (f, delay, ...args) => {
    if (delay < hour / 4) return setTimeout(f, delay, ...args);
    [due, timer] = [performance.now() + delay, f];
    return 0;
  };
  return {
    advance(time) {
      skew += time;
      if (performance.now() >= due) timer();
    },
  };
}

export default [
  scenario(
    'a headers function is called before every request and can answer a 401',
    async (t, server) => {
      const tokens = ['stale', 'fresh', 'later'];
      const source = t.open(server.url, {
        headers: async (attempt) => {
          t.note(attempt);
          return { Authorization: `Bearer ${tokens.shift()}` };
        },
        retry: { initial: 1, statuses: [401] },
      });
      await (await server.accept({ status: 401 })).end();
      await t.until(source, 'error');
      const second = await server.accept();
      await second.send('id: é\ndata: x\n\n');
      await t.until(source, 'message');
      await second.end();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    [
      '{"attempt":1,"lastEventId":""}',
      'GET A authorization: "Bearer stale"',
      'error CONNECTING',
      '{"attempt":2,"lastEventId":"","reason":"status","status":401}',
      'GET A authorization: "Bearer fresh"',
      'open',
      'message "x" id "é"',
      'error CONNECTING',
      '{"attempt":1,"lastEventId":"é","reason":"ended","status":200}',
      'GET A authorization: "Bearer later" last-event-id: <c3 a9>',
      'open',
    ],
    failedToLoad,
  ),
  ...[
    ['throws', () => { throw new Error('no token'); }],
    ['rejects', () => Promise.reject(new Error('no token'))],
    ['returns invalid headers', () => ({ 'a b': 'c' })],
  ].map(([what, fails]) =>
    scenario(`a headers function that ${what} causes an error and is called again`, async (t, server) => {
      let calls = 0;
      const source = t.open(server.url, { headers: () => (calls++ ? {} : fails()), retry: { initial: 1 } });
      source.onerror = ({ reason, willRetry, cause }) => t.note(reason, willRetry, cause instanceof Error);
      await server.accept();
      await t.until(source, 'open');
    }, ['error CONNECTING', 'headers true true', 'GET A', 'open']),
  ),
  scenario('a headers function may throw a value that has no usable name', async (t, server) => {
    const thrown = [
      'text', undefined, { name: { token: 'secret' } },
      { get name() { throw new Error('no name'); } },
    ];
    const diagnostics = [];
    let calls = 0;
    const headers = () => {
      if (calls === thrown.length) return {};
      throw thrown[calls++];
    };
    const source = t.open(server.url, { headers, diagnostics, retry: { initial: 1, max: 1 } });
    await server.accept();
    await t.until(source, 'open');
    t.note(diagnostics.filter(({ what }) => what === 'error').map(({ cause = 'none' }) => typeof cause)); // a worker gets an Error for each
  }, [...Array(4).fill('error CONNECTING'), 'GET A', 'open', '["string","string","string","string"]']),
  scenario('a source can be closed while its headers function is pending', async (t, server) => {
    let give;
    const source = t.open(server.url, { headers: () => new Promise((resolve) => (give = resolve)) });
    await t.fence();
    source.close();
    give({});
    await t.fence();
    t.note('readyState', source.readyState);
  }, ['readyState 2']),
  scenario('aborting the signal closes the source', async (t, server) => {
    const controller = new AbortController();
    const source = t.open(server.url, { signal: controller.signal });
    const connection = await server.accept();
    await t.until(source, 'open');
    controller.abort();
    t.note('readyState', source.readyState);
    await connection.closed();
  }, ['GET A', 'open', 'readyState 2', 'connection closed by the client']),
  scenario('a source with an aborted signal is CLOSED', async (t, server) => {
    const source = t.open(server.url, { signal: AbortSignal.abort() });
    t.note('readyState', source.readyState);
    source.close();
    await t.fence();
  }, ['readyState 2']),
  scenario('the fetch option is used for every request', async (t, server) => {
    const source = t.open(server.at('A', '/asked'), {
      fetch: (url, init) => {
        t.note(url, init.cache, init.credentials, init.headers);
        return fetch(server.at('A', '/sent'), init);
      },
    });
    const first = await server.accept();
    await first.send('retry: 1\nid: 7\ndata: x\n\n');
    await t.until(source, 'message');
    await first.end();
    await server.accept();
    await t.until(source, 'open');
    await t.until(source, 'open');
  }, [
    'A/asked no-store same-origin [["Accept","text/event-stream"]]',
    'GET A/sent',
    'open',
    'message "x" id "7"',
    'error CONNECTING',
    'A/sent no-store same-origin [["Accept","text/event-stream"],["Last-Event-ID","7"]]',
    'GET A/sent last-event-id: "7"',
    'open',
  ]),
  scenario('a fetch option that rejects is a network error', async (t, server) => {
    let calls = 0;
    const source = t.open(server.url, {
      fetch: (...args) => (calls++ ? fetch(...args) : Promise.reject(new Error('offline'))),
      retry: { initial: 1 },
    });
    source.onerror = ({ reason, cause }) => t.note(reason, cause.message);
    await server.accept();
    await t.until(source, 'open');
  }, ['error CONNECTING', 'network offline', 'GET A', 'open']),
  scenario('the lastEventId option is sent with the first request', async (t, server) => {
    const source = t.open(server.url, { lastEventId: 'é1' });
    tell(t, source, 'open', 'resumed', 'attempt');
    const first = await server.accept();
    await first.send('data: x\n\nid\ndata: y\n\n');
    await t.until(source, 'message');
    await t.until(source, 'message');
  }, ['GET A last-event-id: <c3 a9 31>', 'open', 'resumed true attempt 1', 'message "x" id "é1"', 'message "y"']),
  scenario('retry repeats requests after status 429 and 503 and respects Retry-After', async (t, server) => {
    const source = t.open(server.url, { retry: { initial: 1, factor: 1, jitter: 0 } });
    tell(t, source, 'error', 'reason', 'status', 'attempt', 'willRetry', 'retryIn');
    for (const after of ['0', 'Thu, 01 Jan 1970 00:00:00 GMT', 'soon']) {
      await (await server.accept({ status: 503, headers: { 'Retry-After': after } })).end();
      await t.until(source, 'error');
    }
    await (await server.accept({ status: 429, headers: { 'Retry-After': '7200' } })).end();
    await t.until(source, 'error');
  }, [
    'GET A', 'error CONNECTING', 'reason "status" status 503 attempt 1 willRetry true retryIn 1',
    'GET A', 'error CONNECTING', 'reason "status" status 503 attempt 2 willRetry true retryIn 1',
    'GET A', 'error CONNECTING', 'reason "status" status 503 attempt 3 willRetry true retryIn 1',
    'GET A', 'error CONNECTING', 'reason "status" status 429 attempt 4 willRetry true retryIn 7200000',
  ], failedToLoad),
  scenario('the connection fails after retry.attempts failures in a row', async (t, server) => {
    const source = t.open(server.url, { retry: { initial: 1, attempts: 2 } });
    tell(t, source, 'error', 'reason', 'status', 'willRetry');
    for (let i = 0; i < 2; i++) {
      await (await server.accept({ status: 500 })).end();
      await t.until(source, 'error');
    }
    await t.fence();
  }, [
    'GET A', 'error CONNECTING', 'reason "status" status 500 willRetry true',
    'GET A', 'error CLOSED', 'reason "status" status 500 willRetry false',
  ], failedToLoad),
  scenario('status 204 fails the connection despite retry', async (t, server) => {
    const source = t.open(server.url, { retry: { initial: 1 } });
    await server.accept({ status: 204 });
    await t.until(source, 'error');
    await t.fence();
  }, ['GET A', 'error CLOSED']),
  scenario('open and error events describe the response and reason, and are plain Events', async (t, server) => {
    const source = t.open(server.url);
    for (const type of ['open', 'error']) {
      source.addEventListener(type, (event) => {
        const { status, headers, url, attempt, resumed, reason, willRetry, retryIn } = event;
        t.note(status, headers.get('X-Test') ?? 'none', url, attempt, resumed);
        t.note(reason ?? 'no reason', willRetry ?? 'unsaid', retryIn ?? 'unsaid');
        t.note(event.constructor === Event, Reflect.ownKeys(event).join(), String(event));
      });
    }
    const first = await server.accept({ headers: { 'X-Test': 'x' } });
    await first.send('retry: 1\nid: 1\n\n');
    await t.until(source, 'open');
    await first.end();
    await t.until(source, 'error');
    await (await server.accept({ status: 404 })).end();
    await t.until(source, 'error');
  }, [
    'GET A', 'open', '200 x A 1 false', 'no reason unsaid unsaid', 'true isTrusted [object Event]',
    'error CONNECTING', '200 x A 1 false', 'ended true 1', 'true isTrusted [object Event]',
    'GET A last-event-id: "1"',
    'error CLOSED', '404 none A 1 true', 'status false unsaid', 'true isTrusted [object Event]',
  ], failedToLoad),
  scenario('lastEventIdParam sends the last event ID as a query parameter', async (t) => {
    const server = t.stream('B', '/events?id=mine&last%20id=old&q=a+b%20c#f');
    const allow = { headers: { 'Access-Control-Allow-Origin': t.origins.A } };
    const source = t.open(server.url, { lastEventIdParam: 'last id' });
    const first = await server.accept(allow);
    await first.send('retry: 1\nid: é &=7\n\n');
    await first.end();
    const second = await server.accept(allow);
    await second.send('id\n\n');
    await second.end();
    await server.accept(allow);
    for (let i = 0; i < 3; i++) await t.until(source, 'open');
    t.note('url', source.url);
  }, [
    'GET B/events?id=mine&q=a+b%20c origin: "A"',
    'open',
    'error CONNECTING',
    'GET B/events?id=mine&q=a+b%20c&last%20id=%C3%A9%20%26%3D7 origin: "A"',
    'open',
    'error CONNECTING',
    'GET B/events?id=mine&q=a+b%20c origin: "A"',
    'open',
    'url B/events?id=mine&last%20id=old&q=a+b%20c#f',
  ]),
  scenario('idleTimeout replaces a silent connection, before and after its response', async (t, server) => {
    await t.fence(); // loads the module, without which nothing would time out
    const clock = ownClock();
    const source = t.open(server.url, { idleTimeout: hour, retry: { initial: 1 } });
    tell(t, source, 'error', 'reason', 'willRetry');
    const first = await server.request();
    clock.advance(hour);
    await first.closed();
    const second = await server.accept();
    await t.until(source, 'open');
    clock.advance(hour / 2);
    await second.send(': still there\n', 'data: x\n\n');
    await t.until(source, 'message');
    clock.advance(hour / 2);
    t.note('readyState', source.readyState);
    clock.advance(hour / 2);
    await second.closed();
    await server.request();
  }, [
    'GET A', 'error CONNECTING', 'reason "idle" willRetry true', 'connection closed by the client',
    'GET A', 'open', 'message "x"', 'readyState 1',
    'error CONNECTING', 'reason "idle" willRetry true', 'connection closed by the client', 'GET A',
  ]),
  scenario('a body value is sent once, and the source closes when its stream ends', async (t, server) => {
    const source = t.open(server.url, { method: 'POST', body: new URLSearchParams({ ask: 'é' }) });
    tell(t, source, 'error', 'reason', 'willRetry');
    const connection = await server.accept();
    await connection.send('retry: 1\nid: 1\ndata: x\n\n');
    await t.until(source, 'message');
    await connection.end();
    await t.until(source, 'error');
    await t.fence();
  }, [
    'POST A content-length: "10" content-type: "application/x-www-form-urlencoded;charset=UTF-8" origin: "A" body: "ask=%C3%A9"',
    'open', 'message "x" id "1"', 'error CLOSED', 'reason "ended" willRetry false',
  ]),
  scenario('a body value is not sent again after a failure, despite retry', async (t, server) => {
    const source = t.open(server.url, { method: 'POST', body: 'x', retry: { initial: 1 } });
    tell(t, source, 'error', 'reason', 'status', 'willRetry');
    await (await server.accept({ status: 503 })).end();
    await t.until(source, 'error');
    await t.fence();
  }, [
    'POST A content-length: "1" content-type: "text/plain;charset=UTF-8" origin: "A" body: "x"',
    'error CLOSED', 'reason "status" status 503 willRetry false',
  ], failedToLoad),
  scenario('a body function is called for every request', async (t, server) => {
    const source = t.open(server.url, {
      method: 'post',
      headers: { 'Content-Type': 'application/json' },
      body: async (attempt) => JSON.stringify(attempt),
    });
    const first = await server.accept();
    await first.send('retry: 1\nid: 1\n\n');
    await t.until(source, 'open');
    await first.end();
    await t.until(source, 'error');
    await server.accept();
    await t.until(source, 'open');
  }, [
    'POST A content-length: "30" content-type: "application/json" origin: "A" body: "{\\"attempt\\":1,\\"lastEventId\\":\\"\\"}"',
    'open', 'error CONNECTING',
    'POST A content-length: "61" content-type: "application/json" last-event-id: "1" origin: "A"' +
      ' body: "{\\"attempt\\":1,\\"lastEventId\\":\\"1\\",\\"reason\\":\\"ended\\",\\"status\\":200}"',
    'open',
  ]),
  scenario('a body function that throws causes an error and is called again', async (t, server) => {
    let calls = 0;
    const body = () => {
      if (calls++ === 0) throw new Error('nothing to say');
      return 'y';
    };
    const source = t.open(server.url, { method: 'PUT', body, retry: { initial: 1 } });
    tell(t, source, 'error', 'reason', 'willRetry');
    await server.accept();
    await t.until(source, 'open');
  }, [
    'error CONNECTING', 'reason "body" willRetry true',
    'PUT A content-length: "1" content-type: "text/plain;charset=UTF-8" origin: "A" body: "y"', 'open',
  ]),
  scenario('a redirected POST reconnects to its original URL', async (t, server) => {
    const source = t.open(server.url, { method: 'POST', body: () => '' });
    const first = await server.accept({ status: 303, headers: { Location: server.at('A', '/result') } });
    await first.end();
    const second = await server.accept();
    await second.send('retry: 1\n\n');
    await t.until(source, 'open');
    await second.end();
    await t.until(source, 'error');
    await server.accept();
    await t.until(source, 'open');
  }, [
    'POST A content-length: "0" content-type: "text/plain;charset=UTF-8" origin: "A"', 'GET A/result', 'open', 'error CONNECTING',
    'POST A content-length: "0" content-type: "text/plain;charset=UTF-8" origin: "A"', 'open',
  ]),
  ...[
    [{ credentials: 'omit' }, 'A', 'none', false],
    [{ credentials: 'same-origin' }, 'A', 'sent', false],
    [{ credentials: 'include' }, 'B', 'sent', true],
    [{ withCredentials: true, credentials: 'include' }, 'B', 'sent', true],
    [{}, 'B', 'none', false],
  ].map(([init, origin, cookie, withCredentials]) =>
    scenario(`options ${JSON.stringify(init)} send ${cookie === 'sent' ? 'cookies' : 'no cookies'} to ${origin === 'A' ? 'the same' : 'another'} origin`, async (t) => {
      const server = t.stream(origin, '', { record: false });
      document.cookie = `a=b; path=${new URL(server.url).pathname}; SameSite=Lax`;
      const source = t.open(server.url, init);
      t.note('withCredentials', source.withCredentials);
      const { headers } = await server.accept({
        headers: { 'Access-Control-Allow-Origin': t.origins.A, 'Access-Control-Allow-Credentials': 'true' },
      });
      await t.until(source, 'open');
      t.note(headers.some(([name, value]) => name.toLowerCase() === 'cookie' && value.includes('a=b')) ? 'sent' : 'none');
    }, [`withCredentials ${withCredentials}`, 'open', cookie]),
  ),
  {
    name: 'an option of the wrong type or out of range throws a TypeError that names it',
    ...own,
    run(t) {
      const inits = [
        { maxEventSize: 0 }, { maxEventSize: '1' }, { lastEventId: 'a\nb' }, { signal: {} }, { fetch: 'fetch' }, { retry: true },
        { retry: { initial: 0 } }, { retry: { max: 1.5 } }, { retry: { factor: 0.5 } }, { retry: { jitter: 2 } },
        { retry: { attempts: -1 } }, { retry: { resetAfter: 2 ** 31 } }, { retry: { statuses: 503 } }, { retry: { statuses: [204] } },
        { retry: { statuses: [200] } }, { diagnostics: {} }, { diagnostics: Object.freeze([]) },
        { retry: { initial: NaN } }, { headers: 1 }, { idleTimeout: 0 }, { lastEventIdParam: '' },
        { credentials: 'all' }, { credentials: 'omit', withCredentials: true }, { method: 'a b' }, { method: 'head' }, { method: 1 },
        { body: 'x' }, { method: 'POST', body: {} }, { method: 'POST', body: lockedStream() },
      ];
      refuse(t, inits);
    },
    expect: [
      'maxEventSize', 'maxEventSize', 'lastEventId', 'signal', 'fetch', 'retry', 'retry.initial', 'retry.max', 'retry.factor',
      'retry.jitter', 'retry.attempts', 'retry.resetAfter', 'retry.statuses', 'retry.statuses', 'retry.statuses', 'diagnostics', 'diagnostics', 'retry.initial', 'headers',
      'idleTimeout', 'lastEventIdParam', 'credentials', 'credentials', 'method', 'method', 'method', 'body', 'body', 'body',
    ].map((name) => `TypeError ${name}`),
  },
];
