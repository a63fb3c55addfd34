// The option `shared`: scenarios of other files again with a shared connection, and those about sharing.
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

/** Scenarios that do not apply, and why. */
const EXCEPT = {
  'a body value is sent once, and the source closes when its stream ends': 'only GET is shared',
  'a body value is not sent again after a failure, despite retry': 'likewise',
  'a body function is called for every request': 'likewise',
  'a body function that throws causes an error and is called again': 'likewise',
  'a redirected POST reconnects to its original URL': 'likewise',
  'the fetch option is used for every request': 'a function of the page cannot be called in its place',
  'a fetch option that rejects is a network error': 'likewise',
  'idleTimeout replaces a silent connection, before and after its response': "the scenario's clock is the page's",
  'a source closed in its error listener does not reconnect': 'the message to the worker may arrive after the reconnection has begun',
  'two sources with the same URL make two requests': 'shared sources make one request',
  'each source has its own last event ID': 'sources that share a connection share its last event ID',
};

const shared = { shared: true };

/** A frame of the same origin, which counts as another page for sharing. */
async function page(t) {
  const { contentWindow } = await t.frame('<!doctype html><p>');
  const EventSource = await t.in(contentWindow);
  return { open: (server, as, init) => t.watch(new EventSource(server.url, { ...shared, ...init }), { as }) };
}

export default [
  ...again(groups, shared, EXCEPT),
  scenario('pages share a connection, and a page that joins gets an open event', async (t, server) => {
    const one = t.watch(new t.EventSource(server.url, shared), { as: 'one' });
    const connection = await server.accept();
    await t.until(one, 'open');
    await connection.send('id: 1\ndata: x\n\n');
    await t.until(one, 'message');
    const two = (await page(t)).open(server, 'two');
    await t.until(two, 'open');
    t.note(two.readyState, two.lastEventId);
    await connection.send('id: 2\ndata: y\n\n');
    await Promise.all([t.until(one, 'message'), t.until(two, 'message')]); // in this order: the worker posts to the first port first
    two.close();
    await connection.send('id: 3\ndata: z\n\n');
    await t.until(one, 'message');
    one.close();
    await connection.closed();
  }, [
    'GET A', 'one: open', 'one: message "x" id "1"', 'two: open', '1 ', 'one: message "y" id "2"', 'two: message "y" id "2"', 'one: message "z" id "3"',
    'connection closed by the client',
  ]),
  scenario('a shared connection breaks for all pages, reconnects once and fails for all', async (t, server) => {
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
  scenario('sources share a connection only if their headers are equal', async (t, server) => {
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
  scenario("the headers function of the newest page is called, and another page's after it closes", async (t, server) => {
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
  scenario("the first page's connection options apply, and other values log a warning", (t, server) => warnings(t, async () => {
    const one = t.watch(new t.EventSource(server.url, { ...shared, idleTimeout: 1_000_000 }), { as: 'one' });
    await server.accept();
    await t.until(one, 'open');
    const two = t.watch(new t.EventSource(server.url, { ...shared, retry: { attempts: 3 }, parse: JSON.parse }), { as: 'two' });
    await t.until(two, 'open');
  }), [
    'GET A', 'one: open', 'EventSource: the shared connection to A has different values for retry, idleTimeout', 'two: open',
  ]),
  scenario('a page that joins with a last event ID receives the events after it', async (t, server) => {
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
  scenario('malformed messages between pages are ignored', async (t, server) => {
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
  scenario('a source whose shared worker does not load has its own connection', async (t, server) => {
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
  scenario('a source in a sandboxed frame has its own connection', async (t, server) => {
    const realm = await t.realm('sandboxed');
    for (const _ of 'ab') {
      realm.open(server.url, shared);
      await server.accept({ headers: { 'Access-Control-Allow-Origin': 'null' } });
      await t.until(realm, 'open');
    }
  }, ['GET A origin: "null"', 'open', 'GET A origin: "null"', 'open']),
  scenario('shared throws a TypeError for an invalid value or options that cannot be shared', async (t) => refuse(t, [{ ...shared, fetch }, { ...shared, method: 'POST' }, { shared: 1 }]), [
    'TypeError shared', 'TypeError shared', 'TypeError shared',
  ]),
];
