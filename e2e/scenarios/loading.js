// How the implementation comes into a page: the classic script, the module, and the wasm behind them.

const own = { only: 'wasm', standard: 'none: how the script and its wasm are loaded' };

const classic = '<script src="/dist/eventsource.js"></script>';

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
    name: 'the classic script gives a page a source that works',
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
];
