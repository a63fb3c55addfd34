// HTML Standard, 9.2.2: a source belongs to the document of its window, whose base URL, encoding and origin it has.

const standard = '9.2.2 constructor, steps 2 to 6; HTML, the document base URL and the origin';

/** Where a source of the window would connect to. It makes no request. */
async function urlIn(t, window, url) {
  const EventSource = await t.in(window);
  t.attempt(url || 'empty', () => {
    const source = new EventSource(url);
    source.close();
    return source.url;
  });
}

/** A frame in which what prepare does to it loads. */
async function frameWith(t, prepare) {
  const frame = document.createElement('iframe');
  const loaded = new Promise((resolve) => (frame.onload = resolve));
  prepare(frame);
  document.body.append(frame);
  await t.waiting('the frame to load', loaded);
  return frame.contentWindow;
}

/** A source in that window receives and reconnects, as in any other. */
async function receives(t, window) {
  const EventSource = await t.in(window);
  const server = t.stream();
  const source = t.watch(new EventSource(server.url));
  const first = await server.accept();
  await first.send('retry: 1\nid: 1\ndata: x\n\n');
  await t.until(source, 'message');
  await first.end();
  await (await server.accept()).send('data: y\n\n');
  await t.until(source, 'message');
}

const received = ['GET A', 'open', 'message "x" id "1"', 'error CONNECTING', 'GET A last-event-id: "1"', 'open', 'message "y" id "1"'];

/** In a document that the page cannot reach into. */
function apart(kind, origin, expect, more) {
  return {
    name: `in a frame that is ${kind} a source receives, reconnects and is closed`,
    standard,
    async run(t) {
      const server = t.stream();
      const realm = await t.realm(kind);
      realm.open(server.url);
      const allow = { headers: { 'Access-Control-Allow-Origin': origin(t) } };
      const first = await server.accept(allow);
      await first.send('retry: 1\ndata: x\n\n');
      await t.until(realm, 'message');
      await first.end();
      await server.accept(allow);
      await t.until(realm, 'open');
      await t.until(realm, 'open');
      realm.close();
    },
    expect,
    ...more,
  };
}

export default [
  {
    name: 'in an about:blank frame a URL is relative to the page that made it, and a source receives',
    standard,
    async run(t) {
      const window = await frameWith(t, () => {});
      await urlIn(t, window, '/x');
      await receives(t, window);
    },
    expect: ['/x: A/x', ...received],
  },
  {
    name: 'in a srcdoc frame a URL is relative to the page that made it, and a source receives',
    standard,
    async run(t) {
      const window = await frameWith(t, (frame) => (frame.srcdoc = '<!doctype html><p>'));
      await urlIn(t, window, 'x');
      await receives(t, window);
    },
    expect: ['x: A/harness/x', ...received],
  },
  {
    name: 'in a blob document a relative URL cannot be resolved, and a source receives',
    standard,
    async run(t) {
      const blob = URL.createObjectURL(new Blob(['<!doctype html><p>'], { type: 'text/html' }));
      const window = await frameWith(t, (frame) => (frame.src = blob));
      await urlIn(t, window, '/x');
      await receives(t, window);
    },
    expect: ['/x: throws SyntaxError DOMException 12', ...received],
  },
  {
    name: 'a base element that comes later does not move a source',
    standard,
    async run(t) {
      const { contentWindow: window } = await t.frame('<!doctype html><p>');
      const EventSource = await t.in(window);
      const source = new EventSource('/x');
      const { url } = source;
      source.close();
      window.document.head.innerHTML = `<base href="${t.origins.B}/other/">`;
      t.note(source.url === url);
      await urlIn(t, window, 'x');
    },
    expect: ['true', 'x: B/other/x'],
  },
  ...[
    ['windows-1252', '%E9%26%2310003%3B'],
    ['utf-16', '%C3%A9%E2%9C%93'], // "If encoding is UTF-16BE/LE, then return UTF-8."
    ['shift_jis', '%26%23233%3B%26%2310003%3B'],
  ].map(([encoding, query]) => ({
    name: `in a document in ${encoding} the query of a URL is in that encoding, unless it is UTF-16`,
    standard: '9.2.2 constructor, step 3: encoding-parse; URL, get an output encoding',
    async run(t) {
      const { contentWindow: window } = await t.frame('', { type: `text/html; charset=${encoding}` });
      await urlIn(t, window, `${t.origins.A}/é✓?é✓#é✓`);
    },
    expect: [`A/é✓?é✓#é✓: A/%C3%A9%E2%9C%93?${query}#%C3%A9%E2%9C%93`],
  })),
  apart('other origin', (t) => t.origins.B, [
    'GET A origin: "B"',
    'open',
    'message "x"',
    'error CONNECTING',
    'GET A origin: "B"',
    'open',
  ]),
  apart('sandboxed', () => 'null', [
    'GET A origin: "null"',
    'open',
    'message "x"',
    'error CONNECTING',
    'GET A origin: "null"',
    'open',
  ]),
];
