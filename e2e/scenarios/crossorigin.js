// Fetch, the CORS protocol and credentials. By 9.2.2 a source makes a potential-CORS request in mode "cors".

import { answerProbe } from '../harness/probe.js';

const standard = '9.2.2 constructor, step 9; Fetch, CORS check';

const refused = { console: ['blocked by CORS policy', 'Failed to load resource'] };

const allow = (t, more) => ({ headers: { 'Access-Control-Allow-Origin': t.origins.A, ...more } });
const credentials = { 'Access-Control-Allow-Credentials': 'true' };

/** Opens a source on origin B, which receives a message after this response. */
function receives(name, init, response, expect = ['GET B origin: "A"', 'open', 'message "x" from B']) {
  return {
    name,
    standard,
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url, init);
      const connection = await server.accept(response(t));
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
    },
    expect,
  };
}

/** Opens a source on origin B, which fails and closes its connection after this response. */
function fails(name, init, response) {
  return {
    name,
    standard,
    ...refused,
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url, init);
      const connection = await server.accept(response(t));
      answerProbe(server);
      await t.until(source, 'error');
      await connection.closed();
      await t.fence();
    },
    expect: ['GET B origin: "A"', 'error CLOSED', 'connection closed by the client'],
  };
}

/** Makes the browser store a cookie for the path of the stream, which no other scenario uses. */
async function storeCookie(t, origin, server) {
  const shop = t.stream(origin, '/shop', { record: false });
  const visit = fetch(shop.url, { credentials: 'include' });
  const cookie = `flavour=oat; Path=${new URL(server.url).pathname}`;
  const exchange = await shop.accept(allow(t, { ...credentials, 'Set-Cookie': cookie }));
  await exchange.end();
  await (await visit).text();
}

function cookies(name, origin, init, expect) {
  return {
    name,
    standard: '9.2.2 constructor, step 9: the credentials mode; Fetch, credentials',
    async run(t) {
      const server = t.stream(origin);
      await storeCookie(t, origin, server);
      const source = t.open(server.url, init);
      const connection = await server.accept(allow(t, credentials));
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
    },
    expect,
  };
}

export default [
  fails('CORS: a response without Access-Control-Allow-Origin fails the connection', {}, () => ({})),
  receives('CORS: a response that allows any origin opens the connection', {}, () => ({ headers: { 'Access-Control-Allow-Origin': '*' } })),
  receives("CORS: a response that allows the page's origin opens the connection", {}, (t) => allow(t)),
  fails('CORS: a response that allows a different origin fails the connection', {}, (t) => ({
    headers: { 'Access-Control-Allow-Origin': t.origins.C },
  })),
  fails('CORS: a response that allows two origins fails the connection', {}, (t) => ({
    headers: { 'Access-Control-Allow-Origin': `${t.origins.A}, ${t.origins.C}` },
  })),
  receives("CORS with credentials: a response that allows the page's origin opens the connection", { withCredentials: true }, (t) => allow(t, credentials)),
  fails('CORS with credentials: a response that allows any origin fails the connection', { withCredentials: true }, () => ({
    headers: { 'Access-Control-Allow-Origin': '*', ...credentials },
  })),
  fails('CORS with credentials: a response that does not allow credentials fails the connection', { withCredentials: true }, (t) => allow(t)),
  fails('CORS with credentials: Access-Control-Allow-Credentials is case-sensitive', { withCredentials: true }, (t) =>
    allow(t, { 'Access-Control-Allow-Credentials': 'True' }),
  ),
  fails('CORS: status 403 fails the connection', {}, (t) => ({ status: 403, ...allow(t) })),
  cookies('cookies are sent to the same origin', 'A', {}, ['GET A cookie: "flavour=oat"', 'open', 'message "x"']),
  cookies('cookies are sent to the same origin with withCredentials', 'A', { withCredentials: true }, [
    'GET A cookie: "flavour=oat"',
    'open',
    'message "x"',
  ]),
  cookies('cookies are not sent to another origin', 'B', {}, ['GET B origin: "A"', 'open', 'message "x" from B']),
  cookies('cookies are sent to another origin with withCredentials', 'B', { withCredentials: true }, [
    'GET B cookie: "flavour=oat" origin: "A"',
    'open',
    'message "x" from B',
  ]),
  {
    name: 'a cookie set by the response is sent on reconnection',
    standard: '9.2.3 reestablish the connection; Fetch, credentials',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const path = new URL(server.url).pathname;
      const first = await server.accept({ headers: { 'Set-Cookie': `flavour=oat; Path=${path}` } });
      await first.send('retry: 1\n\n');
      await first.end();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'GET A cookie: "flavour=oat"', 'open'],
  },
  {
    name: 'a cookie set by another origin is not stored without withCredentials',
    standard: 'Fetch, credentials',
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url);
      const path = new URL(server.url).pathname;
      await server.accept(allow(t, { 'Set-Cookie': `flavour=oat; Path=${path}` }));
      await t.until(source, 'open');
      source.close();
      const another = t.open(server.url, { withCredentials: true });
      await server.accept(allow(t, credentials));
      await t.until(another, 'open');
    },
    expect: ['GET B origin: "A"', 'open', 'GET B origin: "A"', 'open'],
  },
  {
    name: 'CORS: a source reconnects to another origin',
    standard: '9.2.3 reestablish the connection',
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url);
      const first = await server.accept(allow(t));
      await first.send('retry: 1\n\n');
      await first.end();
      const second = await server.accept(allow(t));
      await second.send('data: x\n\n');
      await t.until(source, 'message');
    },
    expect: ['GET B origin: "A"', 'open', 'error CONNECTING', 'GET B origin: "A"', 'open', 'message "x" from B'],
  },
  {
    name: 'CORS: a reconnection without Access-Control-Allow-Origin fails the connection',
    standard: '9.2.3 fail the connection; Fetch, CORS check',
    ...refused,
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url);
      const first = await server.accept(allow(t));
      await first.send('retry: 1\n\n');
      await first.end();
      await server.accept();
      await t.until(source, 'error');
      answerProbe(server);
      await t.until(source, 'error');
      await t.fence();
    },
    expect: ['GET B origin: "A"', 'open', 'error CONNECTING', 'GET B origin: "A"', 'error CLOSED'],
  },
  {
    name: 'CORS: Last-Event-ID is sent to another origin',
    standard: '9.2.3 reestablish the connection, step 5; 9.2.4',
    async run(t) {
      const server = t.stream('B');
      const source = t.open(server.url);
      const first = await server.accept(allow(t));
      await first.send('retry: 1\nid: 7\ndata: x\n\n');
      await first.end();
      let second = await server.request();
      if (second.method === 'OPTIONS') {
        await second.respond({ status: 204, ...allow(t, { 'Access-Control-Allow-Headers': 'Last-Event-ID' }) });
        await second.end();
        second = await server.request();
      }
      await second.respond(allow(t));
      await second.send('data: y\n\n');
      await t.until(source, 'message');
      await t.until(source, 'message');
    },
    expect: [
      'GET B origin: "A"',
      'open',
      'message "x" id "7" from B',
      'error CONNECTING',
      'GET B last-event-id: "7" origin: "A"',
      'open',
      'message "y" id "7" from B',
    ],
  },
];
