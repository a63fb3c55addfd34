// Options for streams that begin with a POST and end, such as those of language models, and for servers that deviate from
// the standard.
import { failedToLoad, refuse, scenario, tell, warnings } from '../harness/addition.js';

const posted = 'POST A content-length: "3" content-type: "text/plain;charset=UTF-8" origin: "A" body: "ask"';

/** A POST that resumes by GET. */
const resuming = { method: 'POST', body: 'ask', resume: 'get', retry: { initial: 1 } };

/** Sends chunks that end with an unfinished event. Message has the line of the event that is dispatched, if there is one. */
const flushes = (name, chunks, message, init = { flushAtEnd: true }) =>
  scenario(`flushAtEnd: ${name}`, async (t, server) => {
    const source = t.open(server.url, init, { types: ['tick', 'end'] });
    const connection = await server.accept();
    await connection.send('retry: 1\n\n', ...chunks);
    await connection.end();
    await t.until(source, 'error');
    const next = await server.accept();
    await next.send('data: next\n\nevent: end\ndata\n\n');
    await t.until(source, 'end');
  }, ['GET A', 'open', ...message, 'error CONNECTING', ...after(message)]);

/** The trace of the next connection. */
function after(message) {
  const id = / id ("\w+")/.exec(message)?.[1];
  return [`GET A${id ? ` last-event-id: ${id}` : ''}`, 'open', ...['message "next"', 'end ""'].map((line) => (id ? `${line} id ${id}` : line))];
}

/** Sends the response to a source with this `accept`. */
const accepts = (name, accept, response, expect, more) =>
  scenario(name, async (t, server) => {
    const source = t.open(server.url, { accept });
    tell(t, source, 'open', 'status');
    tell(t, source, 'error', 'reason', 'status');
    await server.accept(response);
    await t.until(source, expect[0] === 'open' ? 'open' : 'error');
  }, ['GET A', ...expect], more);

export default [
  scenario('a POST stream that ends normally logs no warning', (t, server) => warnings(t, async () => {
    const source = t.open(server.url, { method: 'POST', body: 'ask' });
    tell(t, source, 'error', 'reason', 'willRetry');
    const connection = await server.accept();
    await connection.send('data: x\n\n');
    await t.until(source, 'message');
    await connection.end();
    await t.until(source, 'error');
  }), [posted, 'open', 'message "x"', 'error CLOSED', 'reason "ended" willRetry false']),
  scenario('a POST stream that breaks logs a warning', (t, server) => warnings(t, async () => {
    const source = t.open(server.url, { method: 'POST', body: 'ask' });
    tell(t, source, 'error', 'reason', 'willRetry');
    const connection = await server.accept();
    await connection.send('data: x\n\n');
    await t.until(source, 'message');
    await connection.truncate();
    await t.until(source, 'error');
  }), [
    posted, 'open', 'message "x"', 'EventSource: the connection has failed: the network failed', 'error CLOSED',
    'reason "network" willRetry false',
  ], failedToLoad),
  scenario('a DELETE request without a body is sent once', async (t, server) => {
    const source = t.open(server.url, { method: 'DELETE', retry: { initial: 1 } });
    tell(t, source, 'error', 'reason', 'willRetry');
    const connection = await server.accept();
    await t.until(source, 'open');
    await connection.end();
    await t.until(source, 'error');
    await t.fence();
  }, ['DELETE A origin: "A"', 'open', 'error CLOSED', 'reason "ended" willRetry false']),
  scenario('a POST resumes by GET at the redirected URL while there is a last event ID', async (t, server) => {
    const source = t.open(server.url, { ...resuming, headers: { 'Content-Type': 'application/json', 'X-Test': 'x' } });
    tell(t, source, 'error', 'reason', 'willRetry');
    const first = await server.accept({ status: 303, headers: { Location: server.at('A', '/answer') } });
    await first.end();
    const second = await server.accept();
    await second.send('id: 1\ndata: a\n\n');
    await t.until(source, 'message');
    await second.end();
    await t.until(source, 'error');
    const third = await server.accept();
    await third.send('id\ndata: b\n\n');
    await t.until(source, 'message');
    await third.truncate();
    await t.until(source, 'error');
    await t.fence();
  }, [
    'POST A content-length: "3" content-type: "application/json" origin: "A" x-test: "x" body: "ask"',
    'GET A/answer x-test: "x"', 'open', 'message "a" id "1"', 'error CONNECTING', 'reason "ended" willRetry true',
    'GET A/answer last-event-id: "1" x-test: "x"', 'open', 'message "b"', 'error CLOSED', 'reason "network" willRetry false',
  ], failedToLoad),
  scenario('a POST stream without an ID is not requested again', async (t, server) => {
    const source = t.open(server.url, resuming);
    tell(t, source, 'error', 'reason', 'willRetry');
    const connection = await server.accept();
    await connection.send('data: a\n\nid: 1\n');
    await t.until(source, 'message');
    await connection.end();
    await t.until(source, 'error');
    await t.fence();
  }, [posted, 'open', 'message "a"', 'error CLOSED', 'reason "ended" willRetry false']),
  scenario('a resuming POST with a lastEventId starts with GET', async (t, server) => {
    const source = t.open(server.url, { ...resuming, lastEventId: '7' });
    await server.accept();
    await t.until(source, 'open');
  }, ['GET A last-event-id: "7"', 'open']),
  scenario('a POST with a body function is repeated until there is a last event ID', async (t, server) => {
    const source = t.open(server.url, { ...resuming, body: () => 'ask' });
    const first = await server.accept();
    await t.until(source, 'open');
    await first.end();
    await t.until(source, 'error');
    const second = await server.accept();
    await second.send('id: 1\n\n');
    await t.until(source, 'open');
    await second.end();
    await t.until(source, 'error');
    await server.accept();
    await t.until(source, 'open');
  }, [posted, 'open', 'error CONNECTING', posted, 'open', 'error CONNECTING', 'GET A last-event-id: "1"', 'open']),
  scenario('wake resumes a POST by GET when the network is back', async (t, server) => {
    const source = t.open(server.url, { ...resuming, wake: true });
    tell(t, source, 'error', 'reason', 'willRetry', 'retryIn');
    const first = await server.accept();
    await first.send('id: 1\ndata: a\n\n');
    await t.until(source, 'message');
    const { now } = Date;
    Date.now = () => now() + 5000;
    dispatchEvent(new Event('online'));
    Date.now = now;
    await server.accept();
    await t.until(source, 'open');
    await t.until(source, 'open');
  }, [
    posted, 'open', 'message "a" id "1"', 'error CONNECTING', 'reason "wake" willRetry true retryIn 0', 'GET A last-event-id: "1"', 'open',
  ]),
  flushes('an event without a final blank line is delivered', ['id: 1\nevent: tick\ndata: a\nda', 'ta: b\n'], ['tick "a\\nb" id "1"']),
  flushes('an unterminated line is delivered', ['data: a\n', 'data'], ['message "a\\n"']),
  flushes('a final CR ends the line', ['data: a\r'], ['message "a"']),
  flushes('an event with a final blank line is delivered once', ['data: a\r\n\r'], ['message "a"']),
  flushes('a block without data dispatches no event', ['event: tick\n: a'], []),
  flushes('by default an event without a final blank line is discarded', ['id: 1\ndata: a\n'], [], {}),
  scenario('flushAtEnd: an event cut off by a broken connection is discarded', async (t, server) => {
    const source = t.open(server.url, { flushAtEnd: true });
    const connection = await server.accept();
    await connection.send('retry: 1\n\nid: 1\ndata: a');
    await t.until(source, 'open');
    await connection.truncate();
    await t.until(source, 'error');
    await server.accept();
    await t.until(source, 'open');
  }, ['GET A', 'open', 'error CONNECTING', 'GET A', 'open'], failedToLoad),
  scenario('flushAtEnd: a source closed by a message receives no more', async (t, server) => {
    const source = t.open(server.url, { flushAtEnd: true });
    source.onmessage = () => source.close();
    const connection = await server.accept();
    await connection.send('data: a\n\ndata: b');
    await connection.end();
    await t.until(source, 'message');
    await t.fence();
    const other = t.open(server.at('A', '/other'), { flushAtEnd: true, method: 'POST' });
    other.onmessage = () => other.close();
    const last = await server.accept();
    await last.send('data: c');
    await last.end();
    await t.until(other, 'message');
    await t.fence();
  }, ['GET A', 'open', 'message "a"', 'POST A/other content-length: "0" origin: "A"', 'open', 'message "c"']),
  accepts('accept: a listed status opens the connection', { statuses: [201, 202] }, { status: 201 }, ['open', 'status 201']),
  accepts('accept: an unlisted status fails the connection', { statuses: [201] }, { status: 202 }, ['error CLOSED', 'reason "status" status 202']),
  accepts('accept: status 204 fails the connection', { statuses: [200] }, { status: 204 }, ['error CLOSED', 'reason "status" status 204']),
  accepts('accept: a listed content type opens the connection, whatever its parameters', { contentTypes: ['Text/Plain'] }, {
    headers: { 'Content-Type': 'TEXT/plain; charset=utf-8' },
  }, ['open', 'status 200']),
  accepts('accept: a missing Content-Type can be listed', { contentTypes: [''] }, { headers: { 'Content-Type': null } }, ['open', 'status 200']),
  accepts('accept: an unlisted content type fails the connection', { contentTypes: ['text/plain'] }, {
    headers: { 'Content-Type': 'text/html' },
  }, ['error CLOSED', 'reason "content-type" status 200']),
  accepts('accept: status 200 and text/event-stream stay accepted', { statuses: [201], contentTypes: ['text/plain'] }, {}, ['open', 'status 200']),
  scenario('accept: errorBodySize does not affect an accepted response', async (t, server) => {
    const source = t.open(server.url, { accept: { statuses: [202], contentTypes: ['application/octet-stream'] }, errorBodySize: 100 });
    const connection = await server.accept({ status: 202, headers: { 'Content-Type': 'application/octet-stream' } });
    await connection.send('data: a\n\n');
    await t.until(source, 'message');
  }, ['GET A', 'open', 'message "a"']),
  {
    ...scenario('an option of the wrong type throws a TypeError that names it', (t) => refuse(t, [
      { resume: 'post' }, { resume: true }, { flushAtEnd: 1 }, { accept: true }, { accept: null }, { accept: { statuses: 201 } },
      { accept: { statuses: [204] } }, { accept: { statuses: ['201'] } }, { accept: { statuses: [404] } },
      { accept: { contentTypes: 'text/plain' } }, { accept: { contentTypes: ['text/plain; charset=utf-8'] } },
      { accept: { contentTypes: ['*/*'] } }, { accept: { contentTypes: [1] } }, { accept: { contentTypes: [Symbol.iterator] } },
    ]), [
      'resume', 'resume', 'flushAtEnd', 'accept', 'accept', 'accept.statuses', 'accept.statuses', 'accept.statuses', 'accept.statuses',
      'accept.contentTypes', 'accept.contentTypes', 'accept.contentTypes', 'accept.contentTypes', 'accept.contentTypes',
    ].map((name) => `TypeError ${name}`)),
  },
];
