// HTML Standard, 9.2.2: a source uses the base URL, encoding and origin of its window's document.

const standard = '9.2.2 constructor, steps 2 to 6; HTML, the document base URL and the origin';

/** Notes the URL of a source in the window. It makes no request. */
async function urlIn(t, window, url) {
  const EventSource = await t.in(window);
  t.attempt(url || 'empty', () => {
    const source = new EventSource(url);
    source.close();
    return source.url;
  });
}

/** Adds a frame that prepare has set up, and returns its window after it has loaded. */
async function frameWith(t, prepare) {
  const frame = document.createElement('iframe');
  const loaded = new Promise((resolve) => (frame.onload = resolve));
  prepare(frame);
  document.body.append(frame);
  await t.waiting('the frame to load', loaded);
  return frame.contentWindow;
}

/** Opens a source in the window, which receives a message, reconnects and receives another. */
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

/** Opens a source in a frame of the same origin. The trace watches it from the page. */
async function openInFrame(t) {
  const server = t.stream();
  const frame = await t.frame('<!doctype html><p>');
  const EventSource = await t.in(frame.contentWindow);
  const source = t.watch(new EventSource(server.url));
  const connection = await server.accept();
  await t.until(source, 'open');
  return { frame, source, connection };
}

/** A scenario in a document that the page cannot access. */
function apart(kind, origin, expect, name = kind) {
  return {
    name: `a source in a ${name} frame receives, reconnects and closes`,
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
      await t.until(realm, 'error');
      await server.accept(allow);
      await t.until(realm, 'open');
      await t.until(realm, 'open');
      realm.close();
    },
    expect,
  };
}

export default [
  {
    name: 'a source in an about:blank frame uses the base URL of its parent page',
    standard,
    async run(t) {
      const window = await frameWith(t, () => {});
      await urlIn(t, window, '/x');
      await receives(t, window);
    },
    expect: ['/x: A/x', ...received],
  },
  {
    name: 'a source in a srcdoc frame uses the base URL of its parent page',
    standard,
    async run(t) {
      const window = await frameWith(t, (frame) => (frame.srcdoc = '<!doctype html><p>'));
      await urlIn(t, window, 'x');
      await receives(t, window);
    },
    expect: ['x: A/harness/x', ...received],
  },
  {
    name: 'a source in a blob document needs an absolute URL',
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
    name: 'a base element added later does not change the URL of a source',
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
    name: `the query of a URL is in the output encoding of a ${encoding} document`,
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
  ], 'cross-origin'),
  apart('sandboxed', () => 'null', [
    'GET A origin: "null"',
    'open',
    'message "x"',
    'error CONNECTING',
    'GET A origin: "null"',
    'open',
  ]),
  {
    name: 'relative URLs follow history.replaceState()',
    standard: '9.2.2 constructor, step 3; HTML 7.4.4, URL and history update steps',
    async run(t) {
      const { contentWindow: window } = await t.frame('<!doctype html><p>');
      window.history.replaceState(null, '', '/moved/here?q#f');
      for (const url of ['x', '?x', '#x', '']) await urlIn(t, window, url);
    },
    expect: ['x: A/moved/x', '?x: A/moved/here?x', '#x: A/moved/here?q#x', 'empty: A/moved/here?q'],
  },
  {
    name: 'a relative URL is resolved in the window of the class, not of the caller',
    standard: "9.2.2 constructor, step 2: this's relevant settings object",
    async run(t) {
      const { contentWindow: window } = await t.frame('<!doctype html><base href="/elsewhere/">');
      const EventSource = await t.in(window);
      const source = new EventSource('x');
      source.close();
      t.note(source.url, source instanceof window.EventTarget, source instanceof EventTarget, source instanceof t.EventSource);
    },
    expect: ['A/elsewhere/x true false false'],
  },
  {
    name: "the class of another window throws that window's exceptions",
    standard: 'Web IDL 3.14: an exception is of the realm of the function',
    async run(t) {
      const { contentWindow: window } = await t.frame('<!doctype html><p>');
      const EventSource = await t.in(window);
      for (const construct of [() => new EventSource('http://['), () => new EventSource(), () => new EventSource('/x', 1)]) {
        try {
          construct();
        } catch (error) {
          t.note(error.name, error instanceof window.DOMException, error instanceof window.TypeError);
        }
      }
    },
    expect: ['SyntaxError true false', 'TypeError false true', 'TypeError false true'],
  },
  {
    name: "the members of one window's class accept sources of another window",
    standard: 'Web IDL 3.7.6: a platform object that implements the interface, whatever its realm',
    async run(t) {
      const { contentWindow: window } = await t.frame('<!doctype html><p>');
      const EventSource = await t.in(window);
      const source = new EventSource('/x');
      const { prototype } = t.EventSource;
      const get = (name) => Object.getOwnPropertyDescriptor(prototype, name).get.call(source);
      t.attempt('url', () => get('url'));
      t.attempt('readyState', () => get('readyState'));
      t.attempt('close', () => prototype.close.call(source));
      t.note('readyState', source.readyState);
      source.close();
    },
    expect: ['url: A/x', 'readyState: 0', 'close: undefined', 'readyState 2'],
  },
  {
    name: 'a source whose listener removes its frame ignores the rest of the chunk',
    standard: '9.2.9 forcibly close; 9.2.6 dispatch the event, step 8: unless CLOSED',
    async run(t) {
      const { frame, source, connection } = await openInFrame(t);
      source.onmessage = () => frame.remove();
      await connection.send('data: 1\n\ndata: 2\n\n');
      await t.until(source, 'message');
      await connection.closed();
      await t.fence();
      t.note('readyState', source.readyState);
    },
    expect: ['GET A', 'open', 'message "1"', 'connection closed by the client', 'readyState 2'],
  },
  {
    name: 'navigating a frame to a fragment or a 204 response keeps its source open',
    standard: 'HTML 7.4.2.3.3 Fragment navigations; 7.4.5: a response with status 204 leaves the document',
    async run(t) {
      const { frame, source, connection } = await openInFrame(t);
      frame.contentWindow.location.hash = 'there';
      await connection.send('retry: 1\ndata: 1\n\n');
      await t.until(source, 'message');
      const nowhere = t.stream('A', '/nowhere', { record: false });
      frame.contentWindow.location = nowhere.url;
      await (await nowhere.accept({ status: 204 })).end();
      await t.fence();
      await connection.send('data: 2\n\n');
      await t.until(source, 'message');
    },
    expect: ['GET A', 'open', 'message "1"', 'message "2"'],
  },
  {
    name: 'document.open() keeps a source open until its frame is removed',
    standard: 'HTML 8.4.1 document open steps, which do not unload the document; 9.2.3: forcibly close',
    async run(t) {
      const { frame, source, connection } = await openInFrame(t);
      const { contentDocument: document } = frame;
      document.open();
      document.write('<!doctype html><p>anew');
      document.close();
      await connection.send('data: 1\n\n');
      await t.until(source, 'message');
      frame.remove();
      await connection.closed();
      await t.fence();
      t.note('readyState', source.readyState);
    },
    expect: ['GET A', 'open', 'message "1"', 'connection closed by the client', 'readyState 2'],
  },
  {
    name: 'after document.open(), removing the frame cancels the reconnection',
    standard: 'HTML 8.4.1 document open steps, which do not unload the document; 9.2.3: forcibly close',
    async run(t) {
      const { frame, source, connection } = await openInFrame(t);
      frame.contentDocument.open();
      frame.contentDocument.close();
      await connection.send('retry: 1\n\n');
      source.onerror = () => frame.remove();
      await connection.end();
      await t.until(source, 'error');
      await t.fence();
      t.note('readyState', source.readyState);
    },
    expect: ['GET A', 'open', 'error CONNECTING', 'readyState 2'],
  },
  ...[
    ['no-referrer', undefined, undefined],
    ['origin', 'A/', 'A/'],
    ['same-origin', 'A/page', undefined],
    ['strict-origin-when-cross-origin', 'A/page', 'A/'],
    ['unsafe-url', 'A/page', 'A/page'],
  ].map(([policy, same, cross]) => ({
    name: `the Referer follows the document's referrer policy ${policy}`,
    standard: "9.2.2: request's client is the document's settings object, whose policy it takes; Referrer Policy 3",
    async run(t) {
      const { contentWindow: window } = await t.frame('<!doctype html><p>', { headers: { 'Referrer-Policy': policy } });
      const EventSource = await t.in(window);
      for (const origin of ['A', 'B']) {
        const server = t.stream(origin, '', { record: false });
        const source = new EventSource(server.url);
        const { headers } = await server.accept({ headers: { 'Access-Control-Allow-Origin': '*' } });
        t.note(origin, headers.find(([name]) => name.toLowerCase() === 'referer')?.[1] ?? 'none');
        source.close();
      }
    },
    expect: [`A ${same ?? 'none'}`, `B ${cross ?? 'none'}`],
  })),
];
