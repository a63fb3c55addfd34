// The option `fetch` may resolve to anything, and option functions may answer after their source was closed.
import { lockedStream, scenario } from '../harness/addition.js';

/** A response whose stream never ends. It notes when the stream is canceled. */
function neverEnding(t, cancelled, headers = { 'Content-Type': 'text/event-stream' }) {
  const cancel = () => {
    t.note('cancelled');
    cancelled();
  };
  return new Response(new ReadableStream({ cancel }), { headers });
}

/** An object like a Response, as pages create them in tests. */
function like(text = 'data: x\n\n') {
  return { status: 200, headers: new Headers({ 'Content-Type': 'text/event-stream' }), body: new Blob([text]).stream() };
}

export default [
  ...[
    ['nothing', () => undefined],
    ['a response without headers', () => ({ status: 200, body: new Blob(['data: x\n\n']).stream() })],
    ['headers without get()', () => ({ ...like(), headers: { 'Content-Type': 'text/event-stream' } })],
    ['an invalid URL', () => ({ ...like(), url: 'http://[' })],
    ['a status that is not a number', () => ({ ...like(), status: Symbol('200') })],
    ['a locked body', () => ({ ...like(), body: lockedStream() })],
    ['a body that is not a stream', () => ({ ...like(), body: {} })],
  ].map(([what, answer]) =>
    scenario(`a fetch option that resolves to ${what} is a network error`, async (t, server) => {
      let calls = 0;
      const source = t.open(server.url, { fetch: (...args) => (calls++ ? fetch(...args) : Promise.resolve(answer())), retry: { initial: 1 } });
      source.onerror = ({ reason, cause }) => t.note(reason, cause.name);
      await server.accept();
      await t.until(source, 'open');
    }, ['error CONNECTING', 'network TypeError', 'GET A', 'open']),
  ),
  scenario('a fetch option may resolve to a Response-like object without an absolute URL', async (t, server) => {
    for (const url of [undefined, '', '/elsewhere?b']) {
      const urls = [];
      const given = { ...like('retry: 1\ndata: x\n\n'), url };
      const source = t.open(server.at('A', '/a?b'), { fetch: async (url) => (urls.push(url), urls.length > 1 ? new Promise(() => {}) : given) });
      await t.until(source, 'error');
      while (urls.length < 2) await t.fence();
      t.note(urls[1]);
      source.close();
    }
  }, [
    'open', 'message "x"', 'error CONNECTING', 'A/a?b',
    'open', 'message "x"', 'error CONNECTING', 'A/a?b',
    'open', 'message "x"', 'error CONNECTING', 'A/elsewhere?b',
  ]),
  scenario('close() cancels the response of a fetch option that ignores the signal', async (t, server) => {
    const { promise, resolve: cancelled } = Promise.withResolvers();
    const source = t.open(server.url, { fetch: async () => neverEnding(t, cancelled) });
    await t.until(source, 'open');
    source.close();
    await t.waiting('the end of the stream', promise);
  }, ['open', 'cancelled']),
  scenario('a rejected response of a fetch option that ignores the signal is canceled', async (t, server) => {
    const { promise, resolve: cancelled } = Promise.withResolvers();
    t.open(server.url, { fetch: async () => neverEnding(t, cancelled, { 'Content-Type': 'text/html' }) });
    await t.waiting('the end of the stream', promise);
  }, ['cancelled', 'error CLOSED']),
  scenario('a response that arrives after close() is canceled', async (t, server) => {
    const [asked, answer, done] = [Promise.withResolvers(), Promise.withResolvers(), Promise.withResolvers()];
    const source = t.open(server.url, {
      fetch() {
        asked.resolve();
        return answer.promise;
      },
    });
    await t.waiting('the request', asked.promise);
    source.close();
    answer.resolve(neverEnding(t, done.resolve));
    await t.waiting('the end of the stream', done.promise);
  }, ['cancelled']),
  scenario('the body of a response that the fetch option returns without readable headers is canceled', async (t, server) => {
    const { promise, resolve: cancelled } = Promise.withResolvers();
    const answers = [() => ({ status: 200, headers: {}, body: neverEnding(t, cancelled).body })];
    const source = t.open(server.url, { fetch: async (...args) => answers.shift()?.() ?? fetch(...args), retry: { initial: 1 } });
    await t.waiting('the end of the stream', promise);
    await server.accept();
    await t.until(source, 'open');
  }, ['cancelled', 'error CONNECTING', 'GET A', 'open']),
  scenario('after a redirect to another origin, the fetch option gets no credential headers', async (t, server) => {
    const sent = [];
    const secrets = { authorization: 'a', cookie: 'b=c', 'Proxy-Authorization': 'd', 'X-Tenant': '7' };
    const source = t.open(server.url, {
      headers: () => secrets,
      fetch: async (url, init) => {
        sent.push(`${new URL(url).origin === t.origins.A} ${[...new Headers(init.headers).keys()]}`);
        return { ...like('retry: 1\n\n'), url: sent.length === 1 ? server.at('A', '/moved') : server.at('B', '/moved') };
      },
    });
    for (let i = 0; i < 3; i++) await t.until(source, 'error');
    source.close();
    t.note(sent[0], sent[1]);
    t.note(sent[2]);
  }, [
    'open', 'error CONNECTING', 'open', 'error CONNECTING', 'open', 'error CONNECTING',
    'true accept,authorization,cookie,proxy-authorization,x-tenant true accept,authorization,cookie,proxy-authorization,x-tenant',
    'false accept,x-tenant',
  ]),
  ...['headers', 'body'].map((late) =>
    scenario(`a source closed while its ${late} function is pending makes no request`, async (t, server) => {
      const gives = [];
      const functions = {
        headers: () => (late === 'headers' ? new Promise((resolve) => gives.push(resolve)) : {}),
        body: () => (late === 'body' ? new Promise((resolve) => gives.push(resolve)) : t.note('a body')),
      };
      const source = t.open(server.url, { method: 'POST', ...functions, fetch: () => t.note('a request') });
      while (gives.length === 0) await t.fence();
      source.close();
      gives[0]();
      await t.fence();
      t.note('readyState', source.readyState);
    }, ['readyState 2']),
  ),
  scenario('a headers function that closes its source causes no request', async (t, server) => {
    const called = Promise.withResolvers();
    const source = t.open(server.url, {
      headers() {
        source.close();
        called.resolve();
      },
      fetch: () => t.note('a request'),
    });
    await t.waiting('the call', called.promise);
    await t.fence();
    t.note('readyState', source.readyState);
  }, ['readyState 2']),
];
