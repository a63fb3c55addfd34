// How the implementation comes into a page: the classic script, the module, and the wasm behind them.

const own = { only: 'wasm', standard: 'none: how the script and its wasm are loaded' };

const classic = '<script src="/dist/eventsource.js"></script>';

const names = (window) => Object.getOwnPropertyNames(window).filter((name) => !/^\d+$/.test(name));

/** A frame whose script asks the scripted server for its wasm. */
function frameWithWasmFrom(t, server) {
  return t.frame(`<script>EVENTSOURCE_WASM_URL = '${server.url}'</script>${classic}`);
}

async function answerWithWasm(request) {
  const wasm = new Uint8Array(await (await fetch('/dist/eventsource.wasm')).arrayBuffer());
  await request.respond({ headers: { 'Content-Type': 'application/wasm' } });
  await request.send(wasm);
  await request.end();
}

export default [
  {
    name: 'the classic script installs the global as the browser does',
    ...own,
    async run(t) {
      const { contentWindow: window } = await t.frame(classic);
      const { value, ...flags } = Object.getOwnPropertyDescriptor(window, 'EventSource');
      t.note(flags);
      t.note('replaced', value !== globalThis.EventSource, value.name, value.length);
      t.note('nothing else', names(window).filter((name) => !names(globalThis).includes(name)));
    },
    expect: ['{"writable":true,"enumerable":false,"configurable":true}', 'replaced true EventSource 1', 'nothing else []'],
  },
  {
    name: 'the classic script works in a page and leaves no other trace',
    ...own,
    async run(t) {
      const server = t.stream();
      const { contentWindow: window } = await t.frame(classic);
      const source = t.watch(new window.EventSource(server.url));
      const connection = await server.accept();
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
      t.note('nothing else', names(window).filter((name) => !names(globalThis).includes(name)));
    },
    expect: ['GET A', 'open', 'message "x"', 'nothing else []'],
  },
  {
    name: 'the module changes no global',
    ...own,
    async run(t) {
      const { contentWindow: window } = await t.frame('<p>');
      const [before, native] = [names(window), window.EventSource];
      const EventSource = await t.in(window);
      const server = t.stream();
      const source = t.watch(new EventSource(server.url));
      const connection = await server.accept();
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
      t.note('native stays', window.EventSource === native, 'and is another', EventSource !== native);
      t.note('nothing else', names(window).filter((name) => !before.includes(name)));
    },
    expect: ['GET A', 'open', 'message "x"', 'native stays true and is another true', 'nothing else []'],
  },
  {
    name: 'the request does not wait for the wasm, nor is a byte lost that comes before it',
    ...own,
    async run(t) {
      const [wasm, server] = [t.stream('A', '/wasm'), t.stream()];
      const { contentWindow: window } = await frameWithWasmFrom(t, wasm);
      const source = t.watch(new window.EventSource(server.url));
      const connection = await server.accept();
      await connection.send('data: early\n\n', 'data: too\n\n');
      const request = await wasm.request();
      t.note('readyState', source.readyState);
      await answerWithWasm(request);
      await connection.send('data: late\n\n');
      for (let i = 0; i < 3; i++) await t.until(source, 'message');
    },
    expect: [
      'GET A',
      'GET A/wasm accept: "*/*" cache-control: missing pragma: missing',
      'readyState 0',
      'open',
      'message "early"',
      'message "too"',
      'message "late"',
    ],
  },
  {
    name: 'a source closed before the wasm has come closes its connection',
    ...own,
    async run(t) {
      const [wasm, server] = [t.stream('A', '/wasm'), t.stream()];
      const { contentWindow: window } = await frameWithWasmFrom(t, wasm);
      const source = t.watch(new window.EventSource(server.url));
      const connection = await server.accept();
      const request = await wasm.request();
      source.close();
      await connection.closed();
      await answerWithWasm(request);
      await t.fence();
    },
    expect: ['GET A', 'GET A/wasm accept: "*/*" cache-control: missing pragma: missing', 'connection closed by the client'],
  },
  {
    name: 'without its wasm a source has an error, says why on the console, and tries again',
    ...own,
    console: ['Failed to load resource', 'could not be loaded: the server answered 404'],
    async run(t) {
      const [wasm, server] = [t.stream('A', '/wasm'), t.stream()];
      const { contentWindow: window } = await frameWithWasmFrom(t, wasm);
      const source = t.watch(new window.EventSource(server.url));
      const first = await server.accept();
      const missing = await wasm.accept({ status: 404 });
      await missing.end();
      await t.until(source, 'error');
      await first.closed();
      const connection = await server.accept();
      await answerWithWasm(await wasm.request());
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
    },
    expect: [
      'GET A',
      'GET A/wasm accept: "*/*" cache-control: missing pragma: missing',
      'error CONNECTING',
      'connection closed by the client',
      'GET A',
      'GET A/wasm accept: "*/*"',
      'open',
      'message "x"',
    ],
  },
  {
    name: 'what is not wasm is an error, with the reason on the console',
    ...own,
    console: ['could not be compiled (Content-Type text/html)'],
    async run(t) {
      const [wasm, server] = [t.stream('A', '/wasm'), t.stream()];
      const { contentWindow: window } = await frameWithWasmFrom(t, wasm);
      const source = t.watch(new window.EventSource(server.url));
      source.addEventListener('error', () => source.close());
      const connection = await server.accept();
      const page = await wasm.accept({ headers: { 'Content-Type': 'text/html' } });
      await page.send('<!doctype html>not found');
      await page.end();
      await t.until(source, 'error');
      await connection.closed();
    },
    expect: [
      'GET A',
      'GET A/wasm accept: "*/*" cache-control: missing pragma: missing',
      'error CONNECTING',
      'connection closed by the client',
    ],
  },
];
