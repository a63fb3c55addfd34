// The headers of the request: those that the standard requires, and those of the option headers.

import { answerProbe } from '../harness/probe.js';

const added = 'none: the option headers';

const own = { only: 'wasm', standard: added };

/** The CORS headers of a response, which a preflight needs too. */
const allow = (t, more) => ({ headers: { 'Access-Control-Allow-Origin': t.origins.A, ...more } });

function sends(name, headers, expect) {
  return {
    name,
    ...own,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url, { headers: headers() });
      await server.accept();
      await t.until(source, 'open');
    },
    expect: [expect, 'open'],
  };
}

function refuses(name, headers, expect) {
  return {
    name,
    ...own,
    async run(t) {
      t.attempt('construct', () => t.open(t.stream().url, { headers: headers() }));
      await t.fence();
    },
    expect: [`construct: throws ${expect}`],
  };
}

export default [
  {
    name: 'the request has the standard headers',
    standard: '9.2.2 constructor, steps 8 to 14',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const { headers } = await server.accept();
      await t.until(source, 'open');
      const told = /^(accept|cache-control|pragma|referer|sec-fetch-.*)$/i;
      // Client hints and priorities vary by engine and request.
      const others = headers.filter(([name]) => !/^(sec-ch-.*|priority)$/i.test(name)).sort();
      for (const [name, value] of others) t.note(name, ...(told.test(name) ? [value.replace(/\?.*$/, '')] : []));
    },
    expect: [
      'GET A',
      'open',
      'Accept text/event-stream',
      'Accept-Encoding',
      'Accept-Language',
      'Cache-Control no-cache',
      'Connection',
      'Host',
      'Pragma no-cache',
      'Referer A/harness/run.html',
      'Sec-Fetch-Dest empty',
      'Sec-Fetch-Mode cors',
      'Sec-Fetch-Site same-origin',
      'User-Agent',
    ],
  },
  {
    name: "the Referer sent to another origin is the page's origin",
    standard: 'Fetch, the default referrer policy',
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url);
      const { headers } = await server.accept(allow(t));
      await t.until(source, 'open');
      for (const [name, value] of headers.toSorted()) if (/^(referer|sec-fetch-.*)$/i.test(name)) t.note(name, value);
    },
    expect: [
      'GET B origin: "A"',
      'open',
      'Referer A/',
      'Sec-Fetch-Dest empty',
      'Sec-Fetch-Mode cors',
      'Sec-Fetch-Site same-site',
    ],
  },
  {
    name: 'headers are sent with every request',
    standard: added,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url, { headers: { Authorization: 'Bearer secret', 'X-Tenant': '7' } });
      const first = await server.accept();
      await first.send('retry: 1\nid: 1\ndata: x\n\n');
      await first.end();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: [
      'GET A authorization: "Bearer secret" x-tenant: "7"',
      'open',
      'message "x" id "1"',
      'error CONNECTING',
      'GET A authorization: "Bearer secret" last-event-id: "1" x-tenant: "7"',
      'open',
    ],
  },
  sends('headers may be a Headers object', () => new Headers({ 'X-A': '1', 'X-B': '2' }), 'GET A x-a: "1" x-b: "2"'),
  sends('headers may be pairs, and values of the same name are joined', () => [['X-A', '1'], ['x-a', '2']], 'GET A x-a: "1, 2"'),
  sends('headers may be empty', () => ({}), 'GET A'),
  sends('header values are trimmed and may be Latin-1', () => ({ 'X-A': ' \té ' }), 'GET A x-a: <e9>'),
  sends('headers can replace Accept', () => ({ Accept: '*/*' }), 'GET A accept: "*/*"'),
  sends('forbidden headers are left out', () => ({ Cookie: 'a=b', Host: 'x', 'X-A': '1' }), 'GET A x-a: "1"'),
  {
    name: 'headers are read when the source is constructed',
    ...own,
    async run(t) {
      const server = t.stream();
      const headers = { 'X-A': 'first' };
      const source = t.open(server.url, { headers });
      headers['X-A'] = 'second';
      headers['X-B'] = 'late';
      await server.accept();
      await t.until(source, 'open');
    },
    expect: ['GET A x-a: "first"', 'open'],
  },
  {
    name: 'headers for another origin need a CORS preflight',
    ...own,
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url, { headers: { Authorization: 'Bearer secret' } });
      const preflight = await server.accept({ status: 204, ...allow(t, { 'Access-Control-Allow-Headers': 'Authorization' }) });
      await preflight.end();
      const connection = await server.accept(allow(t));
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
    },
    expect: [
      'OPTIONS B accept: "*/*" access-control-request-headers: "authorization" access-control-request-method: "GET" origin: "A"',
      'GET B authorization: "Bearer secret" origin: "A"',
      'open',
      'message "x" from B',
    ],
  },
  {
    name: 'headers that the preflight response does not allow fail the connection',
    ...own,
    console: ['blocked by CORS policy', 'Failed to load resource'],
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url, { headers: { Authorization: 'Bearer secret' } });
      const preflight = await server.accept({ status: 204, ...allow(t) });
      await preflight.end();
      answerProbe(server);
      await t.until(source, 'error');
      await t.fence();
    },
    expect: [
      'OPTIONS B accept: "*/*" access-control-request-headers: "authorization" access-control-request-method: "GET" origin: "A"',
      'HEAD B accept: "*/*"',
      'error CLOSED',
    ],
  },
  {
    name: 'status 401 for a wrong token fails the connection',
    ...own,
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url, { headers: { Authorization: 'Bearer wrong' } });
      const exchange = await server.accept({ status: 401, headers: { 'WWW-Authenticate': 'Bearer' } });
      await t.until(source, 'error');
      await exchange.closed();
      await t.fence();
    },
    expect: ['GET A authorization: "Bearer wrong"', 'error CLOSED', 'connection closed by the client'],
  },
  {
    name: 'a redirect to another origin drops Authorization, also on reconnection',
    only: 'wasm',
    standard: 'Fetch, HTTP-redirect fetch: remove Authorization when the origin changes',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url, { headers: { Authorization: 'Bearer secret' } });
      await (await server.request()).redirect(302, server.at('B', '/final'), allow(t).headers);
      let first = await server.accept(allow(t));
      if (first.method === 'OPTIONS') {
        await first.end();
        first = await server.accept(allow(t));
      }
      await first.send('retry: 1\n\n');
      await first.end();
      await server.accept(allow(t));
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: [
      'GET A authorization: "Bearer secret"',
      'GET B/final origin: "A"',
      'open',
      'error CONNECTING',
      'GET B/final origin: "A"',
      'open',
    ],
  },
  {
    name: 'a Last-Event-ID header is sent until the stream sets an ID',
    ...own,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url, { headers: { 'Last-Event-ID': 'mine' } });
      const first = await server.accept();
      await first.send('retry: 1\nid: 1\n\n');
      await first.end();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: ['GET A last-event-id: "mine"', 'open', 'error CONNECTING', 'GET A last-event-id: "1"', 'open'],
  },
  {
    name: 'an invalid maxEventSize throws a TypeError that names it',
    only: 'wasm',
    standard: 'none: the option maxEventSize',
    async run(t) {
      for (const maxEventSize of [0, -1, 1.5, NaN, Infinity, 2 ** 30 + 1, '7', null, {}, 7n]) {
        try {
          t.open(t.stream().url, { maxEventSize });
        } catch (error) {
          t.note(error.name, error.message.includes('maxEventSize: must be an integer from 1 to 1073741824'));
        }
      }
      for (const maxEventSize of [1, 2 ** 30, undefined]) new t.EventSource(t.stream().url, { maxEventSize }).close();
      await t.fence();
    },
    expect: Array(10).fill('TypeError true'),
  },
  refuses('an invalid header name throws a TypeError', () => ({ 'a b': '1' }), 'TypeError'),
  refuses('a line feed in a header value throws a TypeError', () => ({ 'X-A': 'a\nb' }), 'TypeError'),
  refuses('a header value beyond Latin-1 throws a TypeError', () => ({ 'X-A': '✓' }), 'TypeError'),
  refuses('headers that are not an object throw a TypeError', () => 'X-A: 1', 'TypeError'),
  refuses('a header pair with three items throws a TypeError', () => [['X-A', '1', '2']], 'TypeError'),
];
