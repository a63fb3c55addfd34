// Options for streams that begin with POST and end, as those of language models do, and for servers that deviate.
import { failedToLoad, refuse, scenario, tell, warnings } from '../harness/addition.js';

const posted = 'POST A content-length: "3" content-type: "text/plain;charset=UTF-8" origin: "A" body: "ask"';

/** A POST that resumes by GET. */
const resuming = { method: 'POST', body: 'ask', resume: 'get', retry: { initial: 1 } };

/** The message that a stream with an unfinished event leads to. */
const flushes = (name, chunks, message, init = { flushAtEnd: true }) =>
  scenario(`at the end of a stream ${name}`, async (t, server) => {
    const source = t.open(server.url, init, { types: ['tick', 'end'] });
    const connection = await server.accept();
    await connection.send('retry: 1\n\n', ...chunks);
    await connection.end();
    await t.until(source, 'error');
    const next = await server.accept();
    await next.send('data: next\n\nevent: end\ndata\n\n');
    await t.until(source, 'end');
  }, ['GET A', 'open', ...message, 'error CONNECTING', ...after(message)]);

/** What comes of the next connection. */
function after(message) {
  const id = / id ("\w+")/.exec(message)?.[1];
  return [`GET A${id ? ` last-event-id: ${id}` : ''}`, 'open', ...['message "next"', 'end ""'].map((line) => (id ? `${line} id ${id}` : line))];
}

/** What a response leads to where `accept` has this. */
const accepts = (name, accept, response, expect, more) =>
  scenario(name, async (t, server) => {
    const source = t.open(server.url, { accept });
    tell(t, source, 'open', 'status');
    tell(t, source, 'error', 'reason', 'status');
    await server.accept(response);
    await t.until(source, expect[0] === 'open' ? 'open' : 'error');
  }, ['GET A', ...expect], more);

export default [
  scenario('a stream that was posted and ends in order is no failure to warn of', (t, server) => warnings(t, async () => {
    const source = t.open(server.url, { method: 'POST', body: 'ask' });
    tell(t, source, 'error', 'reason', 'willRetry');
    const connection = await server.accept();
    await connection.send('data: x\n\n');
    await t.until(source, 'message');
    await connection.end();
    await t.until(source, 'error');
  }), [posted, 'open', 'message "x"', 'error CLOSED', 'reason "ended" willRetry false']),
  scenario('one that breaks is', (t, server) => warnings(t, async () => {
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
  scenario('a request that is no GET is made once without a body, too', async (t, server) => {
    const source = t.open(server.url, { method: 'DELETE', retry: { initial: 1 } });
    tell(t, source, 'error', 'reason', 'willRetry');
    const connection = await server.accept();
    await t.until(source, 'open');
    await connection.end();
    await t.until(source, 'error');
    await t.fence();
  }, ['DELETE A origin: "A"', 'open', 'error CLOSED', 'reason "ended" willRetry false']),
  scenario('what began with POST resumes by GET where it was redirected to, for as long as there is a last event ID', async (t, server) => {
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
  scenario('a POST that no ID came of is not repeated', async (t, server) => {
    const source = t.open(server.url, resuming);
    tell(t, source, 'error', 'reason', 'willRetry');
    const connection = await server.accept();
    await connection.send('data: a\n\nid: 1\n');
    await t.until(source, 'message');
    await connection.end();
    await t.until(source, 'error');
    await t.fence();
  }, [posted, 'open', 'message "a"', 'error CLOSED', 'reason "ended" willRetry false']),
  scenario('a source that starts with an ID starts with GET', async (t, server) => {
    const source = t.open(server.url, { ...resuming, lastEventId: '7' });
    await server.accept();
    await t.until(source, 'open');
  }, ['GET A last-event-id: "7"', 'open']),
  scenario('a function in place of the body is asked while there is no ID', async (t, server) => {
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
  scenario('the network wakes a POST that can resume', async (t, server) => {
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
  flushes('an event without its blank line is delivered', ['id: 1\nevent: tick\ndata: a\nda', 'ta: b\n'], ['tick "a\\nb" id "1"']),
  flushes('a line without its end is, too', ['data: a\n', 'data'], ['message "a\\n"']),
  flushes('CR alone ends the line', ['data: a\r'], ['message "a"']),
  flushes('an event with its blank line is delivered once', ['data: a\r\n\r'], ['message "a"']),
  flushes('what has no data is no event', ['event: tick\n: a'], []),
  flushes('an event without its blank line is discarded where nothing is said', ['id: 1\ndata: a\n'], [], {}),
  scenario('an event that a broken connection has cut off is discarded', async (t, server) => {
    const source = t.open(server.url, { flushAtEnd: true });
    const connection = await server.accept();
    await connection.send('retry: 1\n\nid: 1\ndata: a');
    await t.until(source, 'open');
    await connection.truncate();
    await t.until(source, 'error');
    await server.accept();
    await t.until(source, 'open');
  }, ['GET A', 'open', 'error CONNECTING', 'GET A', 'open'], failedToLoad),
  scenario('a source that is closed by the last event hears no more', async (t, server) => {
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
  accepts('a status that is accepted opens the connection', { statuses: [201, 202] }, { status: 201 }, ['open', 'status 201']),
  accepts('one that is not fails it', { statuses: [201] }, { status: 202 }, ['error CLOSED', 'reason "status" status 202']),
  accepts('204 has no stream', { statuses: [200] }, { status: 204 }, ['error CLOSED', 'reason "status" status 204']),
  accepts('a type that is accepted opens the connection, whatever its parameters', { contentTypes: ['Text/Plain'] }, {
    headers: { 'Content-Type': 'TEXT/plain; charset=utf-8' },
  }, ['open', 'status 200']),
  accepts('no type can be accepted, too', { contentTypes: [''] }, { headers: { 'Content-Type': null } }, ['open', 'status 200']),
  accepts('a type that is not accepted fails the connection', { contentTypes: ['text/plain'] }, {
    headers: { 'Content-Type': 'text/html' },
  }, ['error CLOSED', 'reason "content-type" status 200']),
  accepts('text/event-stream stays accepted', { statuses: [201], contentTypes: ['text/plain'] }, {}, ['open', 'status 200']),
  scenario('what is accepted is a stream, and no error to read the body of', async (t, server) => {
    const source = t.open(server.url, { accept: { statuses: [202], contentTypes: ['application/octet-stream'] }, errorBodySize: 100 });
    const connection = await server.accept({ status: 202, headers: { 'Content-Type': 'application/octet-stream' } });
    await connection.send('data: a\n\n');
    await t.until(source, 'message');
  }, ['GET A', 'open', 'message "a"']),
  {
    ...scenario('a member of the wrong type is a TypeError that names it', (t) => refuse(t, [
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
