// EventSource.fromReadableStream(), as proposed in whatwg/html#12272: a source that reads a stream of the page.

const own = { only: 'wasm', standard: 'whatwg/html#12272, a proposal' };

/** A source that reads a stream into which the scenario writes. */
function given(t) {
  let canceled;
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  writer.closed.catch(() => canceled?.());
  const source = t.watch(t.EventSource.fromReadableStream(readable));
  const encoder = new TextEncoder();
  return {
    source,
    readable,
    send: (text) => writer.write(encoder.encode(text)),
    end: () => writer.close(),
    fail: (reason) => writer.abort(reason),
    canceled: () => new Promise((resolve) => (canceled = resolve)),
  };
}

const scenario = (name, run, expect, more) => ({ name, ...own, run, expect, ...more });

export default [
  scenario('fromReadableStream() locks the stream and returns a CONNECTING source', async (t) => {
    const { source, readable } = given(t);
    t.note(source instanceof t.EventSource, source.constructor === t.EventSource, readable.locked);
    t.note(source.url, source.withCredentials, source.readyState, source.lastEventId || 'no id', source.reconnectionTime > 0);
    await t.until(source, 'open');
    source.close();
  }, ['true true true', 'about:event-stream false 0 no id true', 'open']),
  scenario('fromReadableStream(): messages have the origin null', async (t) => {
    const { source, send, end } = given(t);
    await send('data: x\nid: 1\n');
    await send('\ndata: cut');
    await t.until(source, 'message');
    await end();
    await t.until(source, 'error');
    t.note(source.lastEventId);
  }, ['open', 'message "x" id "1" from null', 'error CLOSED', '1']),
  scenario('fromReadableStream(): all piped bytes are parsed when pipeTo() resolves', async (t) => {
    const { readable, writable } = new TransformStream();
    const source = t.watch(t.EventSource.fromReadableStream(readable));
    await new Blob(['id: 42\ndata: first\n\n']).stream().pipeTo(writable, { preventClose: true });
    t.note(source.lastEventId);
    source.close();
  }, ['open', 'message "first" id "42" from null', '42']),
  scenario('fromReadableStream(): the source closes when the stream ends', async (t) => {
    const { source, send, end } = given(t);
    source.addEventListener('error', ({ reason, willRetry }) => t.note(reason, willRetry));
    await send('retry: 1\n\n');
    await t.until(source, 'open');
    await end();
    await t.until(source, 'error');
    await t.fence();
    t.note('readyState', source.readyState);
  }, ['open', 'error CLOSED', 'ended false', 'readyState 2']),
  scenario('fromReadableStream(): the source closes when the stream fails', async (t) => {
    const { source, fail } = given(t);
    source.addEventListener('error', ({ reason, cause }) => t.note(reason, cause.message));
    await t.until(source, 'open');
    fail(new Error('broken'));
    await t.until(source, 'error');
  }, ['open', 'error CLOSED', 'network broken']),
  scenario('fromReadableStream(): a chunk that is not a Uint8Array closes the source', async (t) => {
    const readable = new ReadableStream({ start: (controller) => controller.enqueue('data: x\n\n') });
    const source = t.watch(t.EventSource.fromReadableStream(readable));
    source.addEventListener('error', ({ cause }) => t.note(cause.name));
    await t.until(source, 'error');
  }, ['open', 'error CLOSED', 'TypeError']),
  scenario('fromReadableStream(): close() cancels the stream', async (t) => {
    const { source, canceled } = given(t);
    await t.until(source, 'open');
    const wait = canceled();
    source.close();
    await t.waiting('the stream to be canceled', wait);
    t.note('readyState', source.readyState);
  }, ['open', 'readyState 2']),
  scenario('fromReadableStream(): lastEventId and reconnectionTime show the current values', async (t) => {
    const { source, send } = given(t);
    source.onmessage = () => t.note(source.lastEventId || 'no id', source.reconnectionTime);
    await send('retry: 7\nid: é\ndata: a\n\n');
    await t.until(source, 'message');
    await send('id\ndata: b\n\nid: 2\n\n:\n');
    await t.until(source, 'message');
    await t.fence();
    t.note(source.lastEventId);
    source.close();
    t.note(source.lastEventId, source.reconnectionTime);
  }, ['open', 'message "a" id "é" from null', 'é 7', 'message "b" from null', 'no id 7', '2', '2 7']),
  scenario('lastEventId and reconnectionTime of a source with a URL show the current values', async (t) => {
    const server = t.stream();
    const source = t.open(server.url, { lastEventId: '0' });
    t.note(source.lastEventId, source.reconnectionTime > 0);
    const connection = await server.accept();
    await connection.send('retry: 7\nid: 1\ndata: a\n\n');
    await t.until(source, 'message');
    t.note(source.lastEventId, source.reconnectionTime);
  }, ['0 true', 'GET A last-event-id: "0"', 'open', 'message "a" id "1"', '1 7']),
  scenario('reset() discards a partial event, and the next byte starts a new stream', async (t) => {
    const { source, send } = given(t);
    await send('id: 1\ndata: a\n\ndata: cut');
    await t.until(source, 'message');
    source.reset();
    await send('\ufeffdata: b\n\n');
    await t.until(source, 'message');
    t.note('readyState', source.readyState);
  }, ['open', 'message "a" id "1" from null', 'message "b" id "1" from null', 'readyState 1']),
  scenario('reset() applies to all bytes that arrived before it, even if not yet read', async (t) => {
    const { source, send } = given(t);
    const sent = send('data: a\n\ndata: cut');
    source.reset(); // nothing has arrived
    await sent;
    source.reset();
    await send('\ufeffdata: b\n\n');
    await t.until(source, 'message');
    await t.until(source, 'message');
    const lines = ': '.padEnd(100_000, 'x') + '\n';
    source.addEventListener('message', () => source.reset(), { once: true });
    await send(`data: c\n\n${lines}data: d\n\ndata: cut`);
    await send('data: e\n\n');
    for (let i = 0; i < 3; i++) await t.until(source, 'message');
  }, ['open', ...['a', 'b', 'c', 'd', 'e'].map((data) => `message "${data}" from null`)]),
  scenario('reset() has no effect on a source with a URL', async (t) => {
    const server = t.stream();
    const source = t.open(server.url);
    const connection = await server.accept();
    await connection.send('data: a\n\ndata: b');
    await t.until(source, 'message');
    source.reset();
    await connection.send('\n\n');
    await t.until(source, 'message');
  }, ['GET A', 'open', 'message "a"', 'message "b"']),
  scenario('fromReadableStream() throws a TypeError unless it gets an unlocked stream', (t) => {
    const locked = new ReadableStream();
    locked.getReader();
    for (const values of [[], [undefined], [{}], ['x'], [locked]]) {
      t.attempt(values.length, () => t.EventSource.fromReadableStream(...values));
    }
  }, ['0: throws TypeError', '1: throws TypeError', '1: throws TypeError', '1: throws TypeError', '1: throws TypeError']),
  scenario('fromReadableStream() accepts the body of a response', async (t) => {
    const server = t.stream();
    const response = fetch(server.url, { cache: 'no-store', headers: { Accept: 'text/event-stream' } });
    const connection = await server.accept();
    await connection.send(':\n'); // Firefox's fetch() waits for the first byte
    const source = t.watch(t.EventSource.fromReadableStream((await response).body));
    await connection.send('data: x\n\n');
    await t.until(source, 'message');
    source.close();
    await connection.send(':\n'); // Firefox notices the cancellation when a byte arrives
    await connection.closed();
  }, ['GET A', 'open', 'message "x" from null', 'connection closed by the client']),
];
