// How a page loads the implementation: the classic script, the module, and the wasm that they load.

const own = { only: 'wasm', standard: 'none: how the script and its wasm are loaded', alone: 'the implementation is loaded once in a page' };

const classic = '<script src="/dist/eventsource.js"></script>';

/** A frame whose script loads its wasm from the scripted server. */
function frameWithWasmFrom(t, server) {
  return t.frame(`<script>EVENTSOURCE_WASM_URL = '${server.url}'</script>${classic}`);
}

async function answerWithWasm(request) {
  const wasm = new Uint8Array(await (await fetch('/dist/eventsource.wasm')).arrayBuffer());
  await request.respond({ headers: { 'Content-Type': 'application/wasm' } });
  await request.send(wasm);
  await request.end();
}

/** Resolves when the module of the window is ready to take over. */
function whenReady({ WebAssembly, setTimeout }) {
  const { instantiate } = WebAssembly;
  return new Promise((resolve) => {
    WebAssembly.instantiate = async (...values) => {
      const instance = await instantiate(...values);
      setTimeout(resolve);
      return instance;
    };
  });
}

/** A worker with a source, whose script loads its wasm from the scripted server. It posts what the source receives. */
function workerWithWasmFrom(t, wasm, server) {
  const script = `
    importScripts('${location.origin}/dist/eventsource.js');
    EVENTSOURCE_WASM_URL = '${wasm.url}';
    (${whenReady})(self).then(() => postMessage('ready'));
    const diagnostics = [];
    const source = new EventSource('${server.url}', { diagnostics });
    source.onmessage = ({ data }) => postMessage(data);
    onmessage = () => postMessage(diagnostics.filter(({ what }) => what === 'engine').map(({ engine }) => engine).join());
  `;
  const worker = new Worker(URL.createObjectURL(new Blob([script])));
  const messages = [];
  let look = () => {};
  worker.onmessage = ({ data }) => {
    messages.push(data);
    look();
  };
  const next = async () => {
    await t.waiting('the worker', new Promise((resolve) => (look = () => messages.length > 0 && resolve(), look())));
    return messages.shift();
  };
  return { worker, next };
}

export default [
  {
    name: 'the classic script gives a page a working EventSource',
    ...own,
    async run(t) {
      const server = t.stream();
      const { contentWindow: window } = await t.frame(classic);
      const source = t.watch(new window.EventSource(server.url));
      const connection = await server.accept();
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
    },
    expect: ['GET A', 'open', 'message "x"'],
  },
  {
    name: 'events do not wait for the wasm, which takes over once it has loaded',
    ...own,
    async run(t) {
      const [wasm, server] = [t.stream('A', '/wasm'), t.stream()];
      const { contentWindow: window } = await frameWithWasmFrom(t, wasm);
      const ready = whenReady(window);
      const diagnostics = [];
      const source = t.watch(new window.EventSource(server.url, { diagnostics }));
      const connection = await server.accept();
      await t.until(source, 'open'); // or the next wait for an open event would take this one
      await connection.send('data: early\n\n', 'data: too\n\nid: 1\ndata: half an ');
      for (let i = 0; i < 2; i++) await t.until(source, 'message');
      await answerWithWasm(await wasm.request());
      await t.waiting('the module', ready);
      await connection.send('event\n\n');
      await t.until(source, 'message');
      await connection.end();
      await server.accept();
      await t.until(source, 'open');
      t.note(diagnostics.filter(({ what }) => what === 'engine').map(({ engine, reason = 'as it should' }) => `${engine}: ${reason}`));
    },
    expect: [
      'GET A',
      'open',
      'message "early"',
      'message "too"',
      'GET A/wasm accept: "*/*" cache-control: missing pragma: missing',
      'message "half an event" id "1"',
      'error CONNECTING',
      'GET A last-event-id: "1"',
      'open',
      '["script: as it should","go: as it should"]',
    ],
  },
  {
    name: 'events in a worker do not wait for the wasm',
    ...own,
    async run(t) {
      const [wasm, server] = [t.stream('A', '/wasm'), t.stream()];
      const { worker, next } = workerWithWasmFrom(t, wasm, server);
      const connection = await server.accept();
      await connection.send('data: early\n\n');
      t.note(await next());
      await answerWithWasm(await wasm.request());
      t.note(await next());
      await connection.send('data: late\n\n');
      t.note(await next());
      worker.postMessage('which engines?');
      t.note(await next());
      worker.terminate();
      await connection.closed();
    },
    expect: [
      'GET A',
      'early',
      'GET A/wasm accept: "*/*" cache-control: missing pragma: missing',
      'ready',
      'late',
      'script,go',
      'connection closed by the client',
    ],
  },
  {
    name: 'a source closed before the wasm has loaded closes its connection',
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
    expect: ['GET A', 'open', 'GET A/wasm accept: "*/*" cache-control: missing pragma: missing', 'connection closed by the client'],
  },
  {
    name: 'with EVENTSOURCE_WASM_URL = null, sources work and the wasm is never loaded',
    ...own,
    async run(t) {
      const server = t.stream();
      const { contentWindow: window } = await t.frame(`<script>EVENTSOURCE_WASM_URL = null</script>${classic}`);
      const loaded = [];
      window.fetch = ((fetch) => (url, init) => {
        loaded.push(url);
        return fetch(url, init);
      })(window.fetch);
      window.console.info = (text) => t.note(text);
      const diagnostics = [];
      const told = new Promise((resolve) => {
        diagnostics.push = (entry) => entry.reason === 'disabled' && resolve(entry);
      });
      const source = t.watch(new window.EventSource(server.url, { diagnostics, headers: { 'X-Token': 'é'.normalize('NFD').slice(0, 1) } }));
      const connection = await server.accept();
      await connection.send('id: 1\ndata: x\n\n');
      await t.until(source, 'message');
      const { what, engine } = await t.waiting('the engine', told);
      t.note(what, engine, loaded.every((url) => url === server.url));
    },
    expect: ['GET A x-token: "e"', 'open', 'message "x" id "1"', 'engine script true'],
  },
];
