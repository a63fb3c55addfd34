// The option `worker`: scenarios of other files again with the connection in a worker, and those about the worker.
import { again, own, refuse, scenario, tell } from '../harness/addition.js';
import close from './close.js';
import headers from './headers.js';
import ids from './ids.js';
import llm from './llm.js';
import options from './options.js';
import reading from './reading.js';
import reconnection from './reconnection.js';
import requests from './requests.js';
import retry from './retry.js';

const groups = { close, headers, ids, llm, options, reading, reconnection, requests, retry };

/** Scenarios that do not apply, and why. */
const EXCEPT = {
  'the fetch option is used for every request': 'a function of the page cannot be called in its place',
  'a fetch option that rejects is a network error': 'likewise',
  'a POST stream that breaks logs a warning': "the warning is on the worker's console, which DevTools shows with the page's",
  'wake resumes a POST by GET when the network is back': "the scenario's clock is the page's",
  'idleTimeout replaces a silent connection, before and after its response': "the scenario's clock is the page's",
};

export default [
  ...again(groups, { worker: true }, EXCEPT),
  scenario("a stream longer than the worker's flow-control window arrives in full", async (t, server) => {
    const source = t.open(server.url, { worker: true });
    const connection = await server.accept();
    await t.until(source, 'open');
    let [events, length] = [0, 0];
    source.addEventListener('tick', ({ data }) => {
      events++;
      length += data.length;
    });
    const text = 'é'.repeat(100_000);
    for (let i = 0; i < 30; i++) await connection.send(`event: tick\ndata: ${text}\n\n`);
    await connection.send('data: last\n\n');
    await t.until(source, 'message');
    t.note(events, length);
  }, ['GET A', 'open', 'message "last"', '30 3000000']),
  scenario('a slow loop pauses the stream in the worker and loses nothing', async (t, server) => {
    const source = t.open(server.url, { worker: true, buffer: { size: 1, full: 'wait' } });
    const events = source[Symbol.asyncIterator]();
    const connection = await server.accept();
    for (let i = 0; i < 30; i++) await connection.send(`event: tick\nid: ${i}\ndata: ${'x'.repeat(100_000)}\n\n`);
    for (let i = 0; i < 30; i++) {
      const { value } = await events.next();
      if (value.lastEventId !== `${i}`) t.note(`${value.lastEventId} in place of ${i}`);
    }
    t.note('all');
    await events.return();
    await connection.closed();
  }, ['GET A', 'open', 'all', 'connection closed by the client']),
  {
    name: 'a worker posts a FormData body as multipart/form-data',
    ...own,
    async run(t) {
      const server = t.stream('A', '', { record: false });
      const form = new FormData();
      form.append('name', 'é');
      t.open(server.url, { worker: true, method: 'POST', body: form });
      const { body, headers } = await server.request();
      const [, boundary] = /^multipart\/form-data; boundary=(\S+)$/.exec(headers.find(([name]) => /^content-type$/i.test(name))[1]);
      t.note(body.split(boundary).length, body.includes('name="name"'));
    },
    expect: ['3 true'],
  },
  scenario('if the worker does not start, the page connects by itself', async (t, server) => {
    const { Worker } = globalThis;
    let failing;
    globalThis.Worker = class {
      constructor() {
        failing = this;
      }
      postMessage() {
        setTimeout(() => failing.onerror(new Event('error', { cancelable: true })));
      }
      terminate() {}
    };
    const source = t.open(server.url, { worker: true });
    const connection = await server.accept();
    globalThis.Worker = Worker;
    await connection.send('id: 1\ndata: x\n\n');
    await t.until(source, 'message');
    t.open(t.stream('A', '/next').url, { worker: true }).close();
    source.close();
    await connection.closed();
  }, ['GET A', 'open', 'message "x" id "1"', 'connection closed by the client']),
  scenario('if the worker ends, the page reconnects from the last event', async (t, server) => {
    const { Worker } = globalThis;
    let worker;
    globalThis.Worker = class extends Worker {
      constructor(...values) {
        super(...values);
        worker = this;
      }
    };
    const source = t.open(server.url, { worker: true });
    tell(t, source, 'error', 'reason', 'willRetry', 'retryIn');
    const connection = await server.accept();
    globalThis.Worker = Worker;
    await t.until(source, 'open');
    await connection.send('id: 1\ndata: x\n\n');
    await t.until(source, 'message');
    worker.onerror(new Event('error', { cancelable: true }));
    await server.accept();
    await t.until(source, 'open');
  }, ['GET A', 'open', 'message "x" id "1"', 'error CONNECTING', 'reason "network" willRetry true retryIn 0', 'GET A last-event-id: "1"', 'open'],
  { alone: "it replaces the Worker class before the first worker starts, and terminates the worker" }),
  scenario('if the worker comes from another build, the page connects by itself', async (t, server) => {
    const stale = `Object.defineProperty(self, 'name', { value: 'another build' }); importScripts('${t.origins.A}/dist/eventsource.worker.js');`;
    const url = URL.createObjectURL(new Blob([stale], { type: 'text/javascript' }));
    const { info } = console;
    const said = new Promise((resolve) => (console.info = resolve));
    const source = t.open(server.url, { worker: url });
    const loop = (async () => {
      for await (const event of source) if (event.data === 'x') break; // closes the source, which has another connection by then
    })();
    t.note((await said).replace(url, 'the worker'));
    console.info = info;
    const connection = await server.accept();
    await connection.send('data: x\n\n');
    await loop;
    t.note('readyState', source.readyState);
    await connection.closed();
  }, [
    'eventsource-wasm runs without its worker: the worker does not match this script: deploy both together', 'GET A', 'open', 'message "x"',
    'readyState 2', 'connection closed by the client',
  ],
  { alone: 'the page keeps the other worker' }),
  scenario('worker throws a TypeError for an invalid value or together with fetch', async (t) => refuse(t, [{ worker: true, fetch }, { worker: 1 }, { worker: '' }]), [
    'TypeError worker', 'TypeError worker', 'TypeError worker',
  ]),
];
