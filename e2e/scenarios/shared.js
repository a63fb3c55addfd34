// The option `shared`: what holds for a source holds for one that shares its connection, and what many do with one.
import { again, refuse, scenario, warnings } from '../harness/addition.js';
import close from './close.js';
import headers from './headers.js';
import ids from './ids.js';
import options from './options.js';
import reading from './reading.js';
import reconnection from './reconnection.js';
import requests from './requests.js';
import retry from './retry.js';

const groups = { close, headers, ids, options, reading, reconnection, requests, retry };

/** Those that do not hold, and why. */
const EXCEPT = {
  'a body that is a value is sent once, and the source ends with its stream': 'only GET is shared',
  'a body that is a value is not sent again after a failure, whatever the policy': 'likewise',
  'a function in place of the body is called for every request': 'likewise',
  'a function in place of the body that throws is an error, and is called again': 'likewise',
  'a request that is no GET and was redirected is made anew where it was first': 'likewise',
  'fetch of the page is used for every request': 'a function of the page cannot be called in its place',
  'a fetch that rejects is a network error': 'likewise',
  'a response of a fetch that does not know the signal ends with the source': 'likewise',
  'a response of a fetch that does not know the signal ends when it is refused': 'likewise',
  'a response that comes after close() is cancelled': 'likewise',
  'a connection on which nothing arrives for long is made anew, before its response and after': "the scenario's clock is the page's",
  'a source closed in its error listener does not reconnect': 'the worker, which is told by a message, may have begun to',
  'two sources of one URL make two requests': 'they make one',
  'each source has a last event ID of its own': 'as they do here, by the same connection',
};

const shared = { shared: true };

/** Another page of the origin, in a frame, as far as sharing goes. */
async function page(t) {
  const { contentWindow } = await t.frame('<!doctype html><p>');
  const EventSource = await t.in(contentWindow);
  return { open: (server, as, init) => t.watch(new EventSource(server.url, { ...shared, ...init }), { as }) };
}

export default [
  ...again(groups, shared, EXCEPT),
  scenario('pages share a connection, and one that joins sees it open', async (t, server) => {
    const one = t.watch(new t.EventSource(server.url, shared), { as: 'one' });
    const connection = await server.accept();
    await t.until(one, 'open');
    await connection.send('id: 1\ndata: x\n\n');
    await t.until(one, 'message');
    const two = (await page(t)).open(server, 'two');
    await t.until(two, 'open');
    t.note(two.readyState, two.lastEventId);
    await connection.send('id: 2\ndata: y\n\n');
    await Promise.all([t.until(one, 'message'), t.until(two, 'message')]); // the first port is served first
    two.close();
    await connection.send('id: 3\ndata: z\n\n');
    await t.until(one, 'message');
    one.close();
    await connection.closed();
  }, [
    'GET A', 'one: open', 'one: message "x" id "1"', 'two: open', '1 ', 'one: message "y" id "2"', 'two: message "y" id "2"', 'one: message "z" id "3"',
    'connection closed by the client',
  ]),
  scenario('the connection breaks for all, is made again once, and fails for all', async (t, server) => {
    const one = t.watch(new t.EventSource(server.url, shared), { as: 'one' });
    const connection = await server.accept();
    await t.until(one, 'open');
    const frame = await page(t);
    const two = frame.open(server, 'two');
    await t.until(two, 'open');
    await connection.send('retry: 1\nid: 1\n\n');
    await connection.end();
    await t.until(one, 'error');
    await t.until(two, 'error');
    const again = await server.request();
    await again.respond({ status: 204 });
    await t.until(one, 'error');
    await t.until(two, 'error');
    const three = frame.open(server, 'three');
    await server.accept();
    await t.until(three, 'open');
  }, [
    'GET A', 'one: open', 'two: open', 'one: error CONNECTING', 'two: error CONNECTING', 'GET A last-event-id: "1"', 'one: error CLOSED', 'two: error CLOSED', 'GET A', 'three: open',
  ]),
  scenario('headers by value are of what makes two sources share', async (t, server) => {
    const stale = t.watch(new t.EventSource(server.url, { ...shared, headers: { Authorization: 'Bearer a' } }), { as: 'a' });
    await server.accept();
    await t.until(stale, 'open');
    const frame = await page(t);
    const same = frame.open(server, 'the same', { headers: new Headers([['authorization', 'Bearer a']]) });
    await t.until(same, 'open');
    const other = frame.open(server, 'another', { headers: { Authorization: 'Bearer b' } });
    await server.accept();
    await t.until(other, 'open');
    const { held, pending } = await navigator.locks.query();
    t.note([...held, ...pending].some(({ name }) => /Bearer|stream|http/.test(name)));
  }, ['GET A authorization: "Bearer a"', 'a: open', 'the same: open', 'GET A authorization: "Bearer b"', 'another: open', 'false']),
  scenario('a function in place of the headers is asked of the newest page, and of another when that has gone', async (t, server) => {
    const asked = (name, answer) => ({ headers: ({ status }) => (t.note(name, status), answer(name)) });
    const authorize = (name) => ({ Authorization: name });
    const one = t.watch(new t.EventSource(server.url, { ...shared, ...asked('one', authorize), retry: { initial: 1, statuses: [401] } }), { as: 'one' });
    const connection = await server.accept();
    await t.until(one, 'open');
    const frame = await page(t);
    let isAsked;
    const whenAsked = new Promise((resolve) => (isAsked = resolve));
    const never = () => (isAsked(), new Promise(() => {}));
    const two = frame.open(server, 'two', { ...asked('two', never), retry: { initial: 1, statuses: [401] } });
    await t.until(two, 'open');
    await connection.end();
    await Promise.all([t.until(one, 'error'), t.until(two, 'error')]);
    await whenAsked;
    two.close();
    const refused = await server.request();
    await refused.respond({ status: 401 });
    await t.until(one, 'error');
    await server.accept();
    await t.until(one, 'open');
  }, [
    'one undefined', 'GET A authorization: "one"', 'one: open', 'two: open', 'one: error CONNECTING', 'two: error CONNECTING', 'two 200', 'one 200',
    'GET A authorization: "one"', 'one: error CONNECTING', 'one 401', 'GET A authorization: "one"', 'one: open',
  ], { console: ['Failed to load resource'] }),
  scenario('options that belong to the connection are those of the first, and who wants others is told', (t, server) => warnings(t, async () => {
    const one = t.watch(new t.EventSource(server.url, { ...shared, idleTimeout: 1_000_000 }), { as: 'one' });
    await server.accept();
    await t.until(one, 'open');
    const two = t.watch(new t.EventSource(server.url, { ...shared, retry: { attempts: 3 }, parse: JSON.parse }), { as: 'two' });
    await t.until(two, 'open');
  }), [
    'GET A', 'one: open', 'EventSource: the shared connection to A has different values for retry, idleTimeout', 'two: open',
  ]),
  scenario('one that begins with a last event ID gets what has come since', async (t, server) => {
    const one = t.watch(new t.EventSource(server.url, shared), { as: 'one' });
    const connection = await server.accept();
    await t.until(one, 'open');
    await connection.send('id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\nevent: tick\ndata: c\n\ndata: d\n\n');
    for (const _ of 'abd') await t.until(one, 'message');
    const two = t.watch(new t.EventSource(server.url, { ...shared, lastEventId: '2' }), { as: 'two', types: ['tick'] });
    await t.until(two, 'message');
    const three = t.watch(new t.EventSource(server.url, { ...shared, lastEventId: 'x' }), { as: 'three' });
    await server.accept();
    await t.until(three, 'open');
  }, [
    'GET A', 'one: open', 'one: message "a" id "1"', 'one: message "b" id "2"', 'one: message "d" id "3"', 'two: open', 'two: tick "c" id "3"', 'two: message "d" id "3"',
    'GET A last-event-id: "x"', 'three: open',
  ]),
  scenario('messages of another shape change nothing', async (t, server) => {
    const one = t.watch(new t.EventSource(server.url, shared), { as: 'one' });
    const connection = await server.accept();
    await t.until(one, 'open');
    const { held } = await navigator.locks.query();
    const { name } = held.find(({ name }) => /^eventsource-wasm 1 /.test(name));
    const channel = new BroadcastChannel(name);
    const from = 'x';
    for (const message of [
      null, 'x', {}, { from, kind: 'constructor' }, { from, kind: '__proto__' }, { from, kind: 'join' }, { from, kind: 'join', places: [{}] }, { from, kind: 'entries', entries: [{}] },
      { from, kind: 'want', epoch: [1, 'x'], first: -1 }, { from, kind: 'lead', history: [], head: 1, first: 1, start: 1, base: {} }, { from, kind: 'have', epoch: [Infinity, 'x'] },
    ]) channel.postMessage(message);
    channel.close();
    await connection.send('data: x\n\n');
    await t.until(one, 'message');
  }, ['GET A', 'one: open', 'one: message "x"']),
  scenario('where its script cannot be loaded a source has a connection of its own', async (t, server) => {
    const { SharedWorker } = globalThis;
    globalThis.SharedWorker = class extends SharedWorker {
      constructor(url, name) {
        super(`${url}.none`, name);
      }
    };
    const source = t.open(server.url, shared);
    await server.accept();
    globalThis.SharedWorker = SharedWorker;
    await t.until(source, 'open');
  }, ['GET A', 'open'], { console: ['Failed to load resource', 'Failed to fetch a worker script'] }),
  scenario('in a frame that is sandboxed a source has a connection of its own', async (t, server) => {
    const realm = await t.realm('sandboxed');
    for (const _ of 'ab') {
      realm.open(server.url, shared);
      await server.accept({ headers: { 'Access-Control-Allow-Origin': 'null' } });
      await t.until(realm, 'open');
    }
  }, ['GET A origin: "null"', 'open', 'GET A origin: "null"', 'open']),
  scenario('what cannot be shared is refused', async (t) => refuse(t, [{ ...shared, fetch }, { ...shared, method: 'POST' }, { shared: 1 }]), [
    'TypeError shared', 'TypeError shared', 'TypeError shared',
  ]),
];
