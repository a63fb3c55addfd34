// HTML Standard, 9.2.3 Processing model, and the HTTP-redirect fetch of Fetch.

import { answerProbe } from '../harness/probe.js';

const reestablish = '9.2.3 reestablish the connection, step 5: fetch the request again, whose current URL is the last one';

const anyOrigin = { 'Access-Control-Allow-Origin': '*' };

export default [
  ...[301, 302, 303, 307, 308].map((status) => ({
    name: `after a ${status} the source reconnects to the final URL`,
    standard: reestablish,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      await (await server.request()).redirect(status, server.at('A', '/final?x'));
      const first = await server.accept();
      await first.send('retry: 1\nid: 7\ndata: x\n\n');
      await first.end();
      const second = await server.accept();
      await second.send('data: y\n\n');
      await t.until(source, 'message');
      await t.until(source, 'message');
      t.note('url', source.url);
    },
    expect: [
      'GET A',
      'GET A/final?x',
      'open',
      'message "x" id "7"',
      'error CONNECTING',
      'GET A/final?x last-event-id: "7"',
      'open',
      'message "y" id "7"',
      'url A',
    ],
  })),
  ...[300, 304, 305, 306].map((status) => ({
    name: `a ${status} with a Location is not a redirect and fails the connection`,
    standard: 'Fetch: a redirect status is 301, 302, 303, 307 or 308',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      await (await server.request()).redirect(status, server.at('A', '/final'));
      await t.until(source, 'error');
      await t.fence();
    },
    expect: ['GET A', 'error CLOSED'],
  })),
  {
    name: 'a redirect without a Location fails the connection',
    standard: 'Fetch, HTTP-redirect fetch: a null location URL gives the response',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const exchange = await server.accept({ status: 302 });
      await t.until(source, 'error');
      await exchange.closed();
      await t.fence();
    },
    expect: ['GET A', 'error CLOSED', 'connection closed by the client'],
  },
  {
    name: 'several redirects are followed, each relative to the previous URL',
    standard: 'Fetch, HTTP-redirect fetch',
    async run(t) {
      const server = t.stream('A', '/a/');
      const source = t.open(server.url);
      await (await server.request()).redirect(302, 'b');
      await (await server.request()).redirect(307, './c/d');
      await (await server.request()).redirect(301, '?e');
      await server.accept();
      await t.until(source, 'open');
      t.note('url', source.url);
    },
    expect: ['GET A/a/', 'GET A/a/b', 'GET A/a/c/d', 'GET A/a/c/d?e', 'open', 'url A/a/'],
  },
  {
    name: 'a reconnection may be redirected again',
    standard: reestablish,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      await (await server.request()).redirect(302, server.at('A', '/b'));
      const first = await server.accept();
      await first.send('retry: 1\nid: 7\ndata: x\n\n');
      await first.end();
      await (await server.request()).redirect(302, server.at('A', '/c'));
      const second = await server.accept();
      await second.end();
      const third = await server.accept();
      await third.send('data: y\n\n');
      await t.until(source, 'message');
      await t.until(source, 'message');
      t.note('url', source.url);
    },
    expect: [
      'GET A',
      'GET A/b',
      'open',
      'message "x" id "7"',
      'error CONNECTING',
      'GET A/b last-event-id: "7"',
      'GET A/c last-event-id: "7"',
      'open',
      'error CONNECTING',
      'GET A/c last-event-id: "7"',
      'open',
      'message "y" id "7"',
      'url A',
    ],
  },
  {
    name: 'CORS: a redirect to another origin without Access-Control-Allow-Origin fails the connection',
    standard: 'Fetch, CORS check',
    console: ['blocked by CORS policy', 'Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      await (await server.request()).redirect(302, server.at('B'));
      await server.accept();
      answerProbe(server);
      await t.until(source, 'error');
      await t.fence();
    },
    expect: ['GET A', 'GET B origin: "A"', 'error CLOSED'],
  },
  {
    name: 'messages after a redirect to another origin have that origin',
    standard: '9.2.6 dispatch the event, step 5: the origin of the final URL',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      await (await server.request()).redirect(302, server.at('B'));
      const first = await server.accept({ headers: anyOrigin });
      await first.send('retry: 1\ndata: x\n\n');
      await first.end();
      const second = await server.accept({ headers: anyOrigin });
      await second.send('data: y\n\n');
      await t.until(source, 'message');
      await t.until(source, 'message');
      t.note('url', source.url);
    },
    expect: [
      'GET A',
      'GET B origin: "A"',
      'open',
      'message "x" from B',
      'error CONNECTING',
      'GET B origin: "A"',
      'open',
      'message "y" from B',
      'url A',
    ],
  },
  {
    name: 'a redirect from another origin to a third sends Origin: null',
    standard: 'Fetch, HTTP-redirect fetch: the request is redirect-tainted',
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url);
      await (await server.request()).redirect(302, server.at('C'), anyOrigin);
      const connection = await server.accept({ headers: anyOrigin });
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
    },
    expect: ['GET B origin: "A"', 'GET C origin: "null"', 'open', 'message "x" from C'],
  },
  {
    name: 'CORS: a redirect from another origin without Access-Control-Allow-Origin fails the connection',
    standard: 'Fetch, CORS check',
    console: ['blocked by CORS policy', 'Failed to load resource'],
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url);
      await (await server.request()).redirect(302, server.at('A'));
      answerProbe(server);
      await t.until(source, 'error');
      await t.fence();
    },
    expect: ['GET B origin: "A"', 'error CLOSED'],
  },
  {
    name: 'a redirect loop is a network error after 20 redirects and is retried',
    standard: 'Fetch, HTTP-redirect fetch: a redirect count of 20 is a network error',
    console: ['Failed to load resource'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.addEventListener('error', () => source.close());
      for (let i = 0; i < 21; i++) await (await server.request()).redirect(302, server.url);
      await t.until(source, 'error');
      await t.fence();
    },
    expect: [...Array(21).fill('GET A'), 'error CONNECTING'],
  },
  ...Object.entries({
    'data:text/event-stream,data:%20x%0A%0A': 'a data URL',
    'ftp://127.0.0.1/': 'an unsupported scheme',
    'http://[': 'an invalid URL',
  }).map(([location, what]) => ({
    name: `a redirect to ${what} is a network error and is retried`,
    standard: 'Fetch, HTTP-redirect fetch: a location that is failure, or whose scheme is not HTTP(S), is a network error',
    console: ['Failed to load resource', 'blocked by CORS policy', 'Not allowed', 'Fetch API cannot load'],
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.addEventListener('error', () => source.close());
      await (await server.request()).redirect(302, location);
      await t.until(source, 'error');
      await t.fence();
    },
    expect: ['GET A', 'error CONNECTING'],
  })),
  {
    name: 'a redirect with a fragment does not change the URL of the source',
    standard: '9.2.2 attribute url; Fetch, a response\'s location URL',
    async run(t) {
      const server = t.stream('A', '#mine');
      const source = t.open(server.url);
      await (await server.request()).redirect(302, server.at('A', '/b#theirs'));
      const first = await server.accept();
      await first.send('retry: 1\n');
      await first.end();
      await (await server.accept()).send('data: x\n\n');
      await t.until(source, 'message');
      t.note(source.url);
    },
    expect: ['GET A', 'GET A/b', 'open', 'error CONNECTING', 'GET A/b', 'open', 'message "x"', 'A#mine'],
  },
  {
    name: 'closing a source during a redirect closes the connection',
    standard: '9.2.2 close(): abort any instances of the fetch algorithm',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      await (await server.request()).redirect(302, server.at('A', '/b'));
      const exchange = await server.request();
      source.close();
      await exchange.closed();
      await t.fence();
    },
    expect: ['GET A', 'GET A/b', 'connection closed by the client'],
  },
];
