// HTML Standard, 7.4.6.1 and 9.2.9: what happens to a source when its document goes away.

const unloads = 'HTML 7.4.6 unloading document cleanup steps: "for each EventSource object, close it"; 9.2.9';

/** Opens a source in a frame. Then act does something to the frame. */
function framed(name, act, expect, more) {
  return {
    name,
    standard: unloads,
    async run(t) {
      const server = t.stream();
      const frame = await t.frame('<!doctype html><p>');
      const EventSource = await t.in(frame.contentWindow);
      const source = t.watch(new EventSource(server.url));
      const connection = await server.accept();
      await connection.send('retry: 1\n\n');
      await t.until(source, 'open');
      await act(t, { frame, source, connection, server, EventSource });
    },
    expect,
    ...more,
  };
}

export default [
  framed(
    'removing the frame of a source closes the connection',
    async (t, { frame, source, connection }) => {
      frame.remove();
      await connection.closed();
      await t.fence();
      t.note('readyState', source.readyState);
    },
    ['GET A', 'open', 'connection closed by the client', 'readyState 2'],
  ),
  framed(
    'navigating the frame of a source closes the connection',
    async (t, { frame, source, connection }) => {
      const elsewhere = t.stream('A', '/elsewhere', { record: false });
      const loaded = new Promise((resolve) => (frame.onload = resolve));
      frame.src = elsewhere.url;
      const page = await elsewhere.accept({ headers: { 'Content-Type': 'text/html' } });
      await page.send('<!doctype html><p>elsewhere');
      await page.end();
      await t.waiting('the frame to load', loaded);
      await connection.closed();
      await t.fence();
      t.note('readyState', source.readyState);
    },
    ['GET A', 'open', 'connection closed by the client', 'readyState 2'],
  ),
  framed(
    'window.stop() fails the connection',
    async (t, { frame, source, connection }) => {
      await connection.send('retry: 100000\n\ndata\n\n');
      await t.until(source, 'message');
      frame.contentWindow.stop();
      await connection.closed();
      await t.fence();
      t.note('readyState', source.readyState);
    },
    ['GET A', 'open', 'message ""', 'error CLOSED', 'connection closed by the client', 'readyState 2'],
  ),
  framed(
    'document.open() leaves the connection open',
    async (t, { frame, source, connection }) => {
      frame.contentDocument.open();
      frame.contentDocument.write('<p>anew');
      frame.contentDocument.close();
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
    },
    ['GET A', 'open', 'message "x"'],
    { standard: 'HTML 8.4.1 document open steps, which unload nothing' },
  ),
  framed(
    'removing the frame of a reconnecting source closes it without an event',
    async (t, { frame, source, connection, server }) => {
      await connection.end();
      await server.request();
      await t.until(source, 'error');
      frame.remove();
      await t.fence();
      t.note('readyState', source.readyState);
    },
    ['GET A', 'open', 'error CONNECTING', 'GET A', 'readyState 2'],
  ),
  framed(
    'a source constructed in a removed frame makes no request',
    async (t, { frame, EventSource, connection, server }) => {
      frame.remove();
      await connection.closed();
      let late;
      t.attempt('new', () => { late = t.watch(new EventSource(server.at('A', '/late'))); return late.readyState; });
      await t.fence();
      t.note('readyState', late?.readyState);
    },
    ['GET A', 'open', 'connection closed by the client', 'new: 0', 'readyState 0'],
  ),
  framed(
    'pagehide listeners of the page see an open source',
    async (t, { frame, source, connection }) => {
      frame.contentWindow.addEventListener('pagehide', () => t.note('pagehide', source.readyState));
      frame.remove();
      await connection.closed();
      t.note('readyState', source.readyState);
    },
    ['GET A', 'open', 'pagehide 1', 'connection closed by the client', 'readyState 2'],
  ),
  {
    name: 'the library has page listeners only while a source is open',
    only: 'wasm',
    standard: 'none: the page must not notice our listeners',
    async run(t) {
      const frame = await t.frame('<!doctype html><p>');
      const { contentWindow } = frame;
      const listening = new Set();
      for (const target of [contentWindow, contentWindow.document]) {
        const { addEventListener, removeEventListener } = target;
        target.addEventListener = function (type, ...rest) {
          listening.add(type);
          addEventListener.call(this, type, ...rest);
        };
        target.removeEventListener = function (type, ...rest) {
          listening.delete(type);
          removeEventListener.call(this, type, ...rest);
        };
      }
      const EventSource = await t.in(contentWindow);
      t.note('loaded', [...listening]);
      const sources = [1, 2].map(() => new EventSource('/x', { wake: true, persist: 'key' }));
      t.note('open', [...listening].includes('pagehide'));
      for (const source of sources) source.close();
      t.note('closed', [...listening]);
    },
    expect: ['loaded []', 'open true', 'closed []'],
  },
];
