// Fetch, the CORS protocol and credentials, as 9.2.2 gives them to a source: a potential-CORS request in mode "cors".

import { answerProbe } from '../harness/probe.js';

const standard = '9.2.2 constructor, step 9; Fetch, CORS check';

const refused = { console: ['blocked by CORS policy', 'Failed to load resource'] };

const allow = (t, more) => ({ headers: { 'Access-Control-Allow-Origin': t.origins.A, ...more } });
const credentials = { 'Access-Control-Allow-Credentials': 'true' };

/** Opens a source on origin B and answers as given: it receives a message. */
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

/** Opens a source on origin B and answers as given: it fails, for good, and the connection is given up. */
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

/** Has the browser store a cookie for the path of the stream, which no other scenario has. */
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
  fails('without the consent of the other origin the connection fails', {}, () => ({})),
  receives('any origin may be allowed', {}, () => ({ headers: { 'Access-Control-Allow-Origin': '*' } })),
  receives('the origin of the page may be allowed', {}, (t) => allow(t)),
  fails('the consent to yet another origin fails the connection', {}, (t) => ({
    headers: { 'Access-Control-Allow-Origin': t.origins.C },
  })),
  fails('the consent to two origins fails the connection', {}, (t) => ({
    headers: { 'Access-Control-Allow-Origin': `${t.origins.A}, ${t.origins.C}` },
  })),
  receives('with credentials the origin of the page may be allowed', { withCredentials: true }, (t) => allow(t, credentials)),
  fails('with credentials any origin is not enough', { withCredentials: true }, () => ({
    headers: { 'Access-Control-Allow-Origin': '*', ...credentials },
  })),
  fails('with credentials the consent to credentials is needed', { withCredentials: true }, (t) => allow(t)),
  fails('the consent to credentials is case-sensitive', { withCredentials: true }, (t) =>
    allow(t, { 'Access-Control-Allow-Credentials': 'True' }),
  ),
  fails('a refused status of the other origin fails the connection', {}, (t) => ({ status: 403, ...allow(t) })),
  cookies('cookies go to the same origin', 'A', {}, ['GET A cookie: "flavour=oat"', 'open', 'message "x"']),
  cookies('cookies go to the same origin with credentials too', 'A', { withCredentials: true }, [
    'GET A cookie: "flavour=oat"',
    'open',
    'message "x"',
  ]),
  cookies('cookies do not go to another origin', 'B', {}, ['GET B origin: "A"', 'open', 'message "x" from B']),
  cookies('cookies go to another origin with credentials', 'B', { withCredentials: true }, [
    'GET B cookie: "flavour=oat" origin: "A"',
    'open',
    'message "x" from B',
  ]),
  {
    name: 'a cookie that the stream sets is sent on reconnection',
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
    name: 'a cookie that another origin sets without credentials is not stored',
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
    name: 'a source on another origin reconnects to it',
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
    name: 'a source that is refused on reconnection fails',
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
    name: 'the last event ID goes to another origin',
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
