// HTML Standard, 9.2.6 and 8.1.7: the order of a source's events, among themselves and among other tasks.

const tasks = '9.2.6 dispatch the event, step 8; HTML 8.1.7.3: tasks of one task source run in order';
const dispatching = 'DOM 2.9 Dispatching events';

/** An open source that the trace does not watch. */
async function openSource(t, path = '') {
  const server = t.stream('A', path, { record: false });
  const source = new t.EventSource(server.url);
  const opened = new Promise((resolve) => (source.onopen = resolve));
  const connection = await server.accept();
  await t.begin();
  await t.waiting('the source to open', opened);
  source.onopen = null;
  return { server, source, connection };
}

/** Resolves at the event of type last, which the scenario sends. */
const last = (t, source) => t.waiting('the last event', new Promise((resolve) => source.addEventListener('last', resolve)));

/** Adds listeners to a source, sends it the stream, and waits for its event of type last. Only the listeners write to the trace. */
function listens(name, standard, listen, expect, { stream = 'data: 1\n\ndata: 2\n\n' } = {}) {
  return {
    name,
    standard,
    async run(t) {
      const server = t.stream('A', '', { record: false });
      const source = new t.EventSource(server.url);
      const last = new Promise((resolve) => source.addEventListener('last', resolve));
      const settled = listen(t, source);
      const connection = await server.accept();
      await connection.send(`${stream}event: last\ndata\n\n`);
      await t.waiting('the last event', last);
      await t.waiting('what the listeners began', settled);
      source.close();
    },
    expect,
  };
}

/** A promise and the function that resolves it. */
function pending() {
  let resolve;
  const promise = new Promise((r) => (resolve = r));
  return [promise, resolve];
}

/** Opens two sources, one after the other. */
async function two(t) {
  const open = async (as) => {
    const server = t.stream('A', `/${as}`, { record: false });
    const source = t.open(server.url, {}, { as });
    const connection = await server.accept();
    await t.until(source, 'open');
    return { server, source, connection };
  };
  return [await open('one'), await open('two')];
}

export default [
  {
    name: 'events of two sources are dispatched in the order of their arrival',
    standard: tasks,
    async run(t) {
      const one = await openSource(t);
      const two = await openSource(t);
      const arrived = (source) => new Promise((resolve) => source.addEventListener('message', resolve, { once: true }));
      for (const { source } of [one, two]) source.addEventListener('message', ({ data }) => t.note(data));
      for (const [{ source, connection }, data] of [[one, '1a'], [two, '2a'], [two, '2b'], [one, '1b']]) {
        const next = arrived(source);
        await connection.send(`data: ${data}\n\n`);
        await t.waiting(data, next);
      }
      one.source.close();
      two.source.close();
    },
    expect: ['1a', '2a', '2b', '1b'],
  },
  {
    name: 'microtasks of a listener run before its timers and port messages',
    standard: 'HTML 8.1.7.3: a microtask checkpoint comes after each task',
    async run(t) {
      const { source, connection } = await openSource(t);
      const done = new Promise((resolve) => {
        source.onmessage = () => {
          const { port1, port2 } = new MessageChannel();
          let left = 2;
          const task = () => { t.note('task'); if (--left === 0) resolve(); };
          setTimeout(task);
          port1.onmessage = task;
          port2.postMessage(null);
          queueMicrotask(() => t.note('microtask'));
          Promise.resolve().then(() => Promise.resolve()).then(() => t.note('later microtask'));
          t.note('listener');
        };
      });
      await connection.send('data: x\n\n');
      await t.waiting('the tasks', done);
      source.close();
    },
    expect: ['listener', 'microtask', 'later microtask', 'task', 'task'],
  },
  {
    name: 'no listener is called while another script runs',
    standard: 'HTML 8.1.7.3: run to completion',
    async run(t) {
      const { source, connection } = await openSource(t);
      let running = false;
      source.onmessage = ({ data }) => t.note(data, running);
      const ended = last(t, source);
      await connection.send('data: 1\n\n');
      running = true;
      const request = new XMLHttpRequest(); // a synchronous request runs no tasks while it waits
      request.open('GET', `${t.origins.A}/differences.json`, false);
      request.send();
      running = false;
      await connection.send('data: 2\n\nevent: last\ndata\n\n');
      await ended;
      source.close();
    },
    expect: ['1 false', '2 false'],
  },
  {
    name: 'a source constructed in a listener of another source opens and receives',
    standard: '9.2.2 constructor; 9.2.3',
    async run(t) {
      const outer = t.stream('A', '/outer');
      const inner = t.stream('A', '/inner');
      const source = t.open(outer.url, {}, { as: 'outer' });
      const made = {};
      source.addEventListener('open', () => (made.open = t.open(inner.at('A', '/in-open'), {}, { as: 'in open' })), { once: true });
      source.addEventListener('message', () => (made.message = t.open(inner.at('A', '/in-message'), {}, { as: 'in message' })));
      const connection = await outer.accept();
      await t.until(source, 'open');
      await inner.accept();
      await t.until(made.open, 'open');
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
      await (await inner.accept()).send('data: y\n\n');
      await t.until(made.message, 'message');
    },
    expect: [
      'GET A/outer',
      'outer: open',
      'GET A/in-open',
      'in open: open',
      'outer: message "x"',
      'GET A/in-message',
      'in message: open',
      'in message: message "y"',
    ],
  },
  {
    name: 'an error listener that throws does not prevent the reconnection',
    standard: '9.2.3 reestablish the connection; DOM, inner invoke, step 10: report the exception',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.onerror = () => { throw new Error('in onerror'); };
      const connection = await server.accept();
      await connection.send('retry: 1\n\n');
      await connection.end();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'uncaught Error: in onerror', 'GET A', 'open'],
  },
  {
    name: 'dispatchEvent() in a listener dispatches synchronously',
    standard: dispatching,
    async run(t) {
      const { source, connection } = await openSource(t);
      const ended = last(t, source);
      source.onmessage = ({ data, isTrusted }) => {
        t.note('begin', data);
        if (data === 'streamed') source.dispatchEvent(new MessageEvent('message', { data: 'synthetic' }));
        else t.note('trusted', isTrusted);
        t.note('end', data);
      };
      await connection.send('data: streamed\n\nevent: last\ndata\n\n');
      await ended;
      source.close();
    },
    expect: ['begin streamed', 'begin synthetic', 'trusted false', 'end synthetic', 'end streamed'],
  },
  {
    name: 'an event cannot be dispatched again during its dispatch, but can be afterwards',
    standard: `${dispatching}: "If event's dispatch flag is set […] throw an InvalidStateError"`,
    async run(t) {
      const { source, connection } = await openSource(t);
      const ended = last(t, source);
      let event;
      source.onmessage = (message) => {
        t.note(message.data, message === event);
        event ??= message;
        t.attempt('again', () => source.dispatchEvent(message));
      };
      await connection.send('data: x\n\nevent: last\ndata\n\n');
      await ended;
      source.onmessage = (message) => t.note('anew', message === event, message.isTrusted);
      source.dispatchEvent(event);
      source.close();
    },
    expect: ['x false', 'again: throws InvalidStateError DOMException 11', 'anew true false'],
  },
  {
    name: 'synthetic open, error and message events neither connect nor close',
    standard: dispatching,
    async run(t) {
      const { source, connection } = await openSource(t);
      const ended = last(t, source);
      source.onopen = source.onerror = source.onmessage = ({ type, data }) => t.note(type, data ?? 'no data', source.readyState);
      for (const event of [new Event('error'), new Event('open'), new MessageEvent('message', { data: 'mine' }), new Event('close')]) {
        source.dispatchEvent(event);
      }
      await connection.send('data: theirs\n\nevent: last\ndata\n\n');
      await ended;
      source.close();
      source.dispatchEvent(new MessageEvent('message', { data: 'still mine' }));
    },
    expect: ['error no data 1', 'open no data 1', 'message mine 1', 'message theirs 1', 'message still mine 2'],
  },
  listens(
    'all events of a chunk are dispatched before a timer that one of them sets',
    `${tasks}, of one task source before that of timers: Chromium dispatches a chunk in one task`,
    (t, source) => {
      const [timer, fired] = pending();
      source.onmessage = ({ data }) => {
        t.note(data);
        setTimeout(() => { t.note('timer of', data); if (data === '2') fired(); });
      };
      return timer;
    },
    ['1', '2', 'timer of 1', 'timer of 2'],
  ),
  listens(
    'all events of a chunk are dispatched before a port message that one of them posts',
    `${tasks}, of one task source before that of messages: Chromium dispatches a chunk in one task`,
    (t, source) => {
      const [message, received] = pending();
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => { t.note('message of', data); if (data === '2') received(); };
      source.onmessage = ({ data }) => {
        t.note(data);
        port2.postMessage(data);
      };
      return message;
    },
    ['1', '2', 'message of 1', 'message of 2'],
  ),
  listens('reactions to a promise resolved in a listener run before the next event', tasks, (t, source) => {
    const [promise, resolve] = pending();
    promise.then(() => t.note('resolved'));
    source.onmessage = ({ data }) => { t.note(data); resolve(); };
  }, ['1', 'resolved', '2']),
  listens('microtasks of a listener run in the order they were queued', tasks, (t, source) => {
    source.addEventListener('message', ({ data }) => {
      t.note(data);
      queueMicrotask(() => t.note(data, 'first'));
      Promise.resolve().then(() => t.note(data, 'second'));
    });
  }, ['1', '1 first', '1 second', '2', '2 first', '2 second']),
  {
    name: 'open is dispatched in its own task, before the events of the first chunk',
    standard: '9.2.3 announce the connection: queue a task',
    async run(t) {
      const server = t.stream('A', '', { record: false });
      const source = t.open(server.url);
      source.onopen = () => queueMicrotask(() => t.note('microtask of open', source.readyState));
      await (await server.accept()).send('data: x\n\n');
      await t.until(source, 'message');
    },
    expect: ['open', 'microtask of open 1', 'message "x"'],
  },
  {
    name: 'readyState is CONNECTING in an error listener, its microtask and its timer',
    standard: '9.2.3 reestablish the connection, step 1',
    async run(t) {
      const server = t.stream('A', '', { record: false });
      const source = t.open(server.url);
      const [timer, fired] = pending();
      source.onerror = () => {
        queueMicrotask(() => t.note('microtask', source.readyState));
        setTimeout(() => { t.note('timer', source.readyState); fired(); });
      };
      const connection = await server.accept();
      await connection.send('retry: 100000\n');
      await connection.end();
      await t.waiting('the timer', timer);
    },
    expect: ['open', 'error CONNECTING', 'microtask 0', 'timer 0'],
  },
  {
    name: 'a slow listener of one source delays the events of another and loses none',
    standard: tasks,
    async run(t) {
      const [one, other] = await two(t);
      one.source.onmessage = () => {
        const request = new XMLHttpRequest(); // a synchronous request runs no tasks while it waits
        request.open('GET', '/harness/catalogue.html', false);
        request.send();
        t.note('one: after', request.status);
      };
      await one.connection.send('data: 1\n\ndata: 2\n\n');
      await other.connection.send('data: 3\n\n');
      await t.until(other.source, 'message');
    },
    expect: ['one: open', 'two: open', 'one: message "1"', 'one: after 200', 'one: message "2"', 'one: after 200', 'two: message "3"'],
  },
  listens('removeEventListener() does not remove a handler', 'HTML 8.1.8.1 Event handlers', (t, source) => {
    source.onmessage = ({ data }) => t.note('handler', data);
    source.removeEventListener('message', source.onmessage);
  }, ['handler 1', 'handler 2']),
  listens('a function that is both handler and listener is called twice', 'HTML 8.1.8.1 Event handlers', (t, source) => {
    const f = ({ data }) => t.note(data);
    source.onmessage = f;
    source.addEventListener('message', f);
  }, ['1', '1', '2', '2']),
  listens('a handler set during an event is first called for the next one', 'HTML 8.1.8.1 Event handlers', (t, source) => {
    source.addEventListener('message', ({ data }) => { source.onmessage ??= () => t.note('handler', data); });
  }, ['handler 1'], { stream: 'data: 1\n\ndata: 2\n\n' }),
  listens('a handler that removes itself is not called again', 'HTML 8.1.8.1 Event handlers', (t, source) => {
    source.onmessage = ({ data }) => { t.note(data); source.onmessage = null; };
  }, ['1']),
  {
    name: 'overriding dispatchEvent and addEventListener on a source does not affect delivery',
    standard: '9.2.6 dispatch the event, step 8: dispatch is not a call of a method',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.dispatchEvent = source.addEventListener = () => t.note('never');
      source.onmessage = ({ data }) => t.note('handler', data);
      await (await server.accept()).send('data: x\n\n');
      await t.until(source, 'message');
      await t.fence();
    },
    expect: ['GET A', 'open', 'message "x"', 'handler x'],
  },
  {
    name: 'own properties that a page sets on a source do not affect its connection',
    standard: '9.2.3: the URL of the object, not the property',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      for (const name of ['url', 'withCredentials', 'close']) Object.defineProperty(source, name, { value: 'x', configurable: true });
      const first = await server.accept();
      await first.send('retry: 1\ndata: x\n\n');
      await first.end();
      await (await server.accept()).send('data: y\n\n');
      await t.until(source, 'message');
      await t.until(source, 'message');
      for (const name of ['url', 'withCredentials', 'close']) delete source[name];
      t.note(source.url);
    },
    expect: ['GET A', 'open', 'message "x"', 'error CONNECTING', 'GET A', 'open', 'message "y"', 'A'],
  },
];
