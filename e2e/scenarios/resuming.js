// Options that let a source continue after a reload (persist) and after a sleep (wake).
import { own, refuse, scenario, tell, warnings } from '../harness/addition.js';

/** Replaces a property of the object while f runs. */
async function replacing(object, name, descriptor, f) {
  const old = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { configurable: true, ...descriptor });
  try {
    await f();
  } finally {
    Object.defineProperty(object, name, old);
  }
}

/** A wall clock that stands still until jump moves it. Create it before the source, which sets a timer that reads it. */
function wallClock() {
  const { now } = Date;
  const start = Date.now();
  const real = globalThis.setInterval;
  const looks = [];
  let skew = 0;
  Date.now = () => start + skew;
  globalThis.setInterval = (f) => looks.push(f);
  return {
    jump(time) {
      skew += time;
      for (const look of looks) look();
    },
    restore() {
      Date.now = now;
      globalThis.setInterval = real;
    },
  };
}

const hour = 3_600_000;

/** An open source with wake, its connection and the clock. */
async function awake(t, server, init) {
  await t.fence(); // waits until the module has loaded
  const clock = wallClock();
  const source = t.open(server.url, { wake: true, ...init });
  tell(t, source, 'error', 'reason', 'willRetry', 'retryIn');
  const connection = await server.accept();
  await t.until(source, 'open');
  return { source, clock, connection };
}

const renewed = ['GET A', 'open', 'error CONNECTING', 'reason "wake" willRetry true retryIn 0', 'GET A', 'open'];

export default [
  ...['session', 'local'].map((storage) =>
    scenario(`persist keeps the last event ID in ${storage}Storage for the next source`, async (t, server) => {
      const kept = globalThis[`${storage}Storage`];
      const persist = { key: server.url, storage };
      const source = t.open(server.url, { persist, lastEventId: 'begin' });
      const connection = await server.accept();
      await connection.send('id: a1\ndata: x\n\n');
      await t.until(source, 'message');
      source.close();
      t.note('kept', kept.getItem(server.url));
      const next = t.open(server.url, { persist, lastEventId: 'begin' });
      t.note('lastEventId', next.lastEventId);
      await (await server.accept()).send('id\ndata: y\n\n');
      await t.until(next, 'message');
      next.close();
      t.note('kept', kept.getItem(server.url) ?? 'nothing');
    }, [
      'GET A last-event-id: "begin"', 'open', 'message "x" id "a1"', 'kept a1', 'lastEventId a1',
      'GET A last-event-id: "a1"', 'open', 'message "y"', 'kept nothing',
    ])),
  scenario('persist keeps the last event ID when the page goes away, even if it came without data', async (t, server) => {
    const frame = await t.frame('<!doctype html>');
    const EventSource = await t.in(frame.contentWindow);
    const source = t.watch(new EventSource(server.url, { persist: server.url }));
    await (await server.accept()).send('data: x\n\nid: 2\n\n', 'data: y\n\n');
    await t.until(source, 'message');
    await t.until(source, 'message');
    frame.remove();
    const next = t.open(server.url, { persist: server.url });
    await server.accept();
    await t.until(next, 'open');
    next.close();
    sessionStorage.removeItem(server.url);
  }, ['GET A', 'open', 'message "x"', 'message "y" id "2"', 'GET A last-event-id: "2"', 'open']),
  ...[
    ['blocked', (f) => replacing(globalThis, 'sessionStorage', { get() { throw new DOMException('denied', 'SecurityError'); } }, f), 'denied'],
    ['full', (f) => replacing(Storage.prototype, 'setItem', { value() { throw new DOMException('full', 'QuotaExceededError'); } }, f), 'full'],
  ].map(([what, broken, message]) =>
    scenario(`persist logs a warning if the storage is ${what}`, (t, server) => warnings(t, () => broken(async () => {
      const source = t.open(server.url, { persist: server.url });
      await (await server.accept()).send('id: 1\ndata: x\n\n');
      await t.until(source, 'message');
      source.close();
    })), [
      ...(what === 'full' ? ['GET A', 'open', 'message "x" id "1"'] : []),
      `EventSource: persist cannot use sessionStorage: ${message}`,
      ...(what === 'full' ? [] : ['GET A', 'open', 'message "x" id "1"']),
    ])),
  scenario('persist ignores a stored ID that no stream could have sent', async (t, server) => {
    sessionStorage.setItem(server.url, 'a\nb');
    const source = t.open(server.url, { persist: server.url });
    await server.accept();
    await t.until(source, 'open');
    source.close();
    sessionStorage.removeItem(server.url);
  }, ['GET A', 'open']),
  ...[
    ['the network is back', (clock) => { clock.jump(5000); dispatchEvent(new Event('online')); }],
    ['the computer has slept', (clock) => clock.jump(hour)],
  ].map(([what, happens]) =>
    scenario(`wake replaces an open connection when ${what}`, async (t, server) => {
      const { source, clock } = await awake(t, server);
      happens(clock);
      await server.accept();
      await t.until(source, 'open');
      dispatchEvent(new Event('online')); // too soon after the last one to have an effect
      await t.fence();
      t.note('readyState', source.readyState);
      clock.restore();
    }, [...renewed, 'readyState 1'])),
  scenario('wake disconnects in the back/forward cache and reconnects afterwards without an error', async (t, server) => {
    const { source, clock, connection } = await awake(t, server);
    await connection.send('id: 1\ndata: x\n\n');
    await t.until(source, 'message');
    dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
    t.note('readyState', source.readyState);
    await connection.closed();
    dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
    await server.accept();
    await t.until(source, 'open');
    clock.restore();
  }, [
    'GET A', 'open', 'message "x" id "1"', 'readyState 0', 'connection closed by the client', 'GET A last-event-id: "1"', 'open',
  ]),
  ...[
    ['the network is back', () => dispatchEvent(new Event('online')), ['error CONNECTING', 'reason "wake" willRetry true retryIn 0']],
    ['the page leaves the back/forward cache', () => ['pagehide', 'pageshow'].map((type) => dispatchEvent(new PageTransitionEvent(type, { persisted: true }))), []],
  ].map(([what, happens, error]) =>
    scenario(`events behind a full buffer are requested again when ${what}`, async (t, server) => {
      const { source, clock, connection } = await awake(t, server, { buffer: { size: 2 } });
      const events = source[Symbol.asyncIterator]();
      const next = async (connection, text, count) => {
        await connection.send(text);
        for (let i = 0; i < count; i++) await t.until(source, 'message');
      };
      await next(connection, 'id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\nid: 4\n\n', 2);
      for (const text of ['id: 3\ndata: c\n\nid: 4\ndata: d\n\nid: 5\ndata: e\n\n', 'data: e\nid: 5\n\ndata: f\n\n']) {
        clock.jump(5000);
        happens();
        const again = await server.accept();
        await t.until(source, 'open');
        await next(again, text, 1);
        t.note((await events.next()).value.data);
        await t.until(source, 'message');
      }
      for (let i = 0; i < 4; i++) t.note((await events.next()).value.data);
      clock.restore();
    }, [
      'GET A', 'open', 'message "a" id "1"', 'message "b" id "2"',
      ...error, 'GET A last-event-id: "2"', 'open', 'message "c" id "3"', 'a', 'message "d" id "4"',
      ...error, 'GET A last-event-id: "4"', 'open', 'message "e" id "5"', 'b', 'message "f" id "5"', 'c', 'd', 'e', 'f',
    ])),
  scenario('for await reads the event whose listener causes a wake', async (t, server) => {
    const { source, clock, connection } = await awake(t, server);
    const events = source[Symbol.asyncIterator]();
    source.addEventListener('message', () => {
      clock.jump(5000);
      dispatchEvent(new Event('online'));
    }, { once: true });
    await connection.send('id: 1\ndata: a\n\nid: 2\ndata: b\n\n');
    await t.until(source, 'message');
    const again = await server.accept();
    await again.send('id: 2\ndata: b\n\n');
    await t.until(source, 'message');
    t.note([await events.next(), await events.next()].map(({ value }) => value.data));
    clock.restore();
  }, [
    'GET A', 'open', 'message "a" id "1"', 'error CONNECTING', 'reason "wake" willRetry true retryIn 0',
    'GET A last-event-id: "1"', 'open', 'message "b" id "2"', '["a","b"]',
  ]),
  scenario('an error listener of one source can close another before wake reaches it', async (t, server) => {
    const { source, clock } = await awake(t, server);
    const other = t.stream('A', '/other');
    const closed = t.open(other.url, { wake: true }, { as: 'other' });
    await other.accept();
    await t.until(closed, 'open');
    source.addEventListener('error', () => closed.close());
    clock.jump(5000);
    dispatchEvent(new Event('online'));
    await server.accept();
    await t.until(source, 'open');
    await t.fence();
    t.note('other', closed.readyState);
    clock.restore();
  }, ['GET A', 'open', 'GET A/other', 'other: open', ...renewed.slice(2), 'other 2']),
  scenario('without wake, events wait in the back/forward cache until after pageshow', async (t, server) => {
    const source = t.open(server.url);
    const connection = await server.accept();
    await t.until(source, 'open');
    dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
    document.dispatchEvent(new Event('freeze'));
    await connection.send('data: x\n\n');
    const other = t.stream('A', '/other');
    const late = t.open(other.url, undefined, { as: 'late' });
    await other.accept();
    await t.control('a moment', 'lab');
    t.note('readyState', source.readyState, late.readyState);
    document.dispatchEvent(new Event('resume'));
    await t.control('a moment', 'lab');
    addEventListener('pageshow', () => t.note('pageshow'), { once: true });
    dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
    await t.until(source, 'message');
    await t.until(late, 'open');
  }, ['GET A', 'open', 'GET A/other', 'readyState 1 0', 'pageshow', 'message "x"', 'late: open']),
  ...[['', {}], [', with wake', { wake: true }]].map(([how, init]) =>
    scenario(`after a freeze, only a connection that stays silent is replaced${how}`, async (t, server) => {
      await t.fence();
      const { setTimeout } = globalThis;
      let look;
      globalThis.setTimeout = (f, time, ...values) => (time === 500 ? (look = () => f(...values)) : setTimeout(f, time, ...values));
      const source = t.open(server.url, init);
      const first = await server.accept();
      await first.send('id: 1\ndata: x\n\n');
      await t.until(source, 'message');
      const lively = t.stream('A', '/lively');
      const other = t.open(lively.url, init, { as: 'other' });
      const alive = await lively.accept();
      await t.until(other, 'open');
      document.dispatchEvent(new Event('freeze'));
      const now = performance.now.bind(performance);
      performance.now = () => now() + 25_000;
      document.dispatchEvent(new Event('resume'));
      await alive.send('data: y\n\n');
      await t.until(other, 'message');
      let busy = 25_000;
      performance.now = () => now() + (busy += 1000); // replacing a connection takes time
      look();
      await first.closed();
      t.note('readyState', source.readyState, other.readyState);
      const second = await server.accept();
      await second.send('data: z\n\n');
      await t.until(source, 'message');
      Object.assign(globalThis, { setTimeout });
      performance.now = now;
    }, [
      'GET A', 'open', 'message "x" id "1"', 'GET A/lively', 'other: open', 'other: message "y"', 'connection closed by the client',
      'readyState 0 1', 'GET A last-event-id: "1"', 'open', 'message "z" id "1"',
    ])),
  scenario("a page's own events called freeze, resume and pagehide change nothing", async (t, server) => {
    await t.fence();
    const { setTimeout } = globalThis;
    const looks = [];
    globalThis.setTimeout = (f, time, ...values) => (time === 500 ? looks.push(() => f(...values)) : setTimeout(f, time, ...values));
    const source = t.open(server.url);
    const connection = await server.accept();
    await t.until(source, 'open');
    const now = performance.now.bind(performance);
    performance.now = () => now() + 25_000;
    document.dispatchEvent(new Event('resume')); // some wrappers of pages fire it without freeze
    for (const type of ['freeze', 'pagehide', 'beforeunload']) document.body.dispatchEvent(new CustomEvent(type, { bubbles: true }));
    for (const look of looks) look();
    await connection.send('data: x\n\n');
    await t.until(source, 'message');
    Object.assign(globalThis, { setTimeout });
    performance.now = now;
    t.note('readyState', source.readyState);
  }, ['GET A', 'open', 'message "x"', 'readyState 1']),
  scenario('without freeze events, wake replaces a silent connection when its tab is shown', async (t, server) => {
    const { setTimeout, performance } = globalThis;
    const now = performance.now.bind(performance);
    const { prototype } = Document;
    const onresume = Object.getOwnPropertyDescriptor(prototype, 'onresume');
    delete prototype.onresume;
    const { source, clock } = await awake(t, server);
    const looks = [];
    globalThis.setTimeout = (f, time, ...values) => (time === 500 ? looks.push(() => f(...values)) : setTimeout(f, time, ...values));
    const show = (seconds) => {
      performance.now = () => now() + seconds * 1000;
      clock.jump(5000);
      document.dispatchEvent(new Event('visibilitychange'));
      for (const look of looks.splice(0)) look();
    };
    show(10);
    t.note('readyState', source.readyState);
    show(25);
    await server.accept();
    await t.until(source, 'open');
    Object.assign(globalThis, { setTimeout });
    performance.now = now;
    if (onresume) Object.defineProperty(prototype, 'onresume', onresume);
    clock.restore();
  }, ['GET A', 'open', 'readyState 1', 'error CONNECTING', 'reason "wake" willRetry true retryIn 0', 'GET A', 'open']),
  scenario('wake reconnects without further delay when the network is back', async (t, server) => {
    const { source, clock, connection } = await awake(t, server);
    await connection.send('retry: 7200000\nid: 1\n\n');
    await connection.end();
    await t.until(source, 'error');
    dispatchEvent(new Event('online'));
    await server.accept();
    await t.until(source, 'open');
    clock.restore();
  }, [
    'GET A', 'open', 'error CONNECTING', 'reason "ended" willRetry true retryIn 7200000', 'GET A last-event-id: "1"', 'open',
  ]),
  scenario('wake does not react to a hidden tab or a clock set back, and is off by default', async (t, server) => {
    const { source, clock, connection } = await awake(t, server);
    clock.jump(9000);
    clock.jump(-hour);
    document.dispatchEvent(new Event('visibilitychange'));
    dispatchEvent(new PageTransitionEvent('pageshow', { persisted: false }));
    const plain = t.stream('A', '/plain');
    const without = t.open(plain.url, undefined, { as: 'without' });
    await plain.accept();
    await t.until(without, 'open');
    await connection.send('data: x\n\n');
    await t.until(source, 'message');
    clock.jump(2 * hour);
    source.close();
    clock.jump(hour);
    dispatchEvent(new Event('online'));
    await t.fence();
    t.note('without', without.readyState);
    clock.restore();
  }, [
    'GET A', 'open', 'GET A/plain', 'without: open', 'message "x"', 'error CONNECTING', 'reason "wake" willRetry true retryIn 0', 'without 1',
  ]),
  scenario('wake does not resend a body that is sent once', async (t, server) => {
    const { source, clock, connection } = await awake(t, server, { method: 'POST', body: 'x' });
    clock.jump(hour);
    dispatchEvent(new Event('online'));
    await connection.send('data: y\n\n');
    await t.until(source, 'message');
    clock.restore();
  }, ['POST A content-length: "1" content-type: "text/plain;charset=UTF-8" origin: "A" body: "x"', 'open', 'message "y"']),
  {
    name: 'an option of the wrong type throws a TypeError that names it',
    ...own,
    run(t) {
      refuse(t, [{ wake: 1 }, { persist: '' }, { persist: true }, { persist: null }, { persist: { key: 'a', storage: 'cookie' } }]);
    },
    expect: ['wake', 'persist', 'persist', 'persist', 'persist.storage'].map((name) => `TypeError ${name}`),
  },
  {
    name: 'unknown options are ignored, with one warning for each set of names',
    ...own,
    run: (t) => warnings({ note: (text) => t.note(text.replace(/Known: .*/, '…')) }, () => {
      for (let i = 0; i < 2; i++) new t.EventSource('/x', { header: {}, timeout: 1, withCredentials: true }).close();
      new t.EventSource('/x', { header: {} }).close();
      const nested = { retry: { max_attempts: 1 }, buffer: { length: 1 }, persist: { key: 'nested', kind: 'local' } };
      for (const [name, value] of Object.entries(nested)) new t.EventSource('/x', { [name]: value }).close();
    }),
    expect: [
      'EventSource: unknown options are ignored: header, timeout. …',
      'EventSource: unknown options are ignored: header. …',
      'EventSource: unknown options are ignored: retry.max_attempts. …',
      'EventSource: unknown options are ignored: buffer.length. …',
      'EventSource: unknown options are ignored: persist.kind. …',
    ],
  },
];
