// Tests of pages that share a worker: node js/sharedpages.mjs. There are no locks, as in a page without TLS.

import assert from 'node:assert/strict';
import { register } from 'node:module';

// The build adds Go's support script. These tests do not need it.
const resolve = `export const resolve = (name, context, next) =>
  name === 'wasm_exec.js' ? { url: 'data:text/javascript,export default () => class {}', shortCircuit: true } : next(name, context);`;
register(`data:text/javascript,${encodeURIComponent(resolve)}`);

const { setTimeout: later } = globalThis;
let requests = [];
Object.assign(globalThis, {
  setTimeout: (f, delay, ...values) => later(f, delay / 100, ...values),
  __BUILD__: 'test',
  onconnect: null,
  location: new URL('http://a.example/'),
  fetch: async (url, { headers }) => {
    requests.push(new Headers(headers).get('x'));
    return new Response(new ReadableStream(), { headers: { 'Content-Type': 'text/event-stream' } });
  },
});
Object.defineProperty(globalThis, 'navigator', { value: {} });
const { Port } = await import('./sharedhub.js');
const { setDefaultURL } = await import('./engine.js');
const { convertInit } = await import('./init.js');
setDefaultURL(() => null);

let streams = 0;

/** A page that answers questions by calling `answer`. */
class Page {
  asked = 0;
  received = [];

  constructor(url, answer, more) {
    const port = new Port({
      postMessage: (message) => {
        this.received.push(message);
        if (message.ask) this.asked++;
        if (message.ask) queueMicrotask(() => answer?.((reply) => port.receive({ id: 1, question: message.question, ...reply })));
      },
    });
    this.port = port;
    port.receive({ id: 1, open: { ...convertInit({}), headers: undefined, shared: true, url, readyState: 0, lastEventId: '', ...more } });
  }
}

const newURL = () => `http://a.example/${++streams}`;
const good = (reply) => reply({ value: [['x', 'good']] });

async function until(condition) {
  while (!condition()) await new Promise((done) => later(done, 1));
}

const tests = {
  async 'after a page fails, the next one is asked'() {
    const url = newURL();
    const page = new Page(url, good);
    new Page(url, (reply) => reply({ error: new Error('logged out') }));
    await until(() => requests.includes('good'));
    assert.equal(page.asked, 1);
  },
  async 'a page that returns invalid headers counts as failed'() {
    const url = newURL();
    new Page(url, good);
    new Page(url, (reply) => reply({ value: [['a b', 'x']] }));
    await until(() => requests.includes('good'));
  },
  async 'a page that does not answer is asked last from then on, and once per attempt'() {
    const url = newURL();
    const page = new Page(url, good);
    const silent = new Page(url);
    await until(() => silent.asked === 1);
    page.port.receive({ id: 1, call: 'wake' });
    await until(() => requests.includes('good'));
    silent.port.end();
    await until(() => true);
    assert.deepEqual([page.asked, silent.asked], [1, 1]);
  },
  async 'if a page goes away, another one is asked'() {
    const url = newURL();
    new Page(url, good);
    const goes = new Page(url);
    await until(() => goes.asked === 1);
    goes.port.end();
    await until(() => requests.includes('good'));
  },
  async 'a number identifies one source'() {
    const page = new Page(newURL(), good);
    page.port.receive({ id: 1, open: { ...convertInit({}), shared: true, url: newURL(), lastEventId: '' } });
    await until(() => requests.length === 1);
    page.port.end();
    assert.equal(page.port.has(1), false);
  },
  async 'invalid headers open no connection'() {
    const page = new Page(newURL(), good, { given: [['a b', 'x']] });
    assert.equal(page.port.has(1), false);
  },
};

for (const [name, test] of Object.entries(tests)) {
  requests = [];
  await Promise.race([test(), new Promise((_, fail) => later(() => fail(new Error(`${name}: timed out`)), 60_000).unref())]);
}
process.exit();
