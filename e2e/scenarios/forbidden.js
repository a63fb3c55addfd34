// HTML Standard, 9.2.3 Processing model: "if res is a network error, then reestablish the connection, unless the user
// agent knows that to be futile, in which case the user agent may fail the connection".

const standard = '9.2.3 fetch, processResponse: a network error that is known to be futile';

/** What the browser logs on the console for a request that it does not make. */
const console = ['Failed to load resource', 'Content Security Policy', 'Fetch API cannot load', 'Not allowed to load', 'blocked by CORS policy'];

function fails(name, url) {
  return {
    name,
    standard,
    console,
    async run(t) {
      await t.until(t.open(url(t)), 'error');
      await t.fence();
    },
    expect: ['error CLOSED'],
  };
}

export default [
  ...['ftp://127.0.0.1/', 'about:blank', 'mailto:someone@a.example', 'javascript:0', 'unheard-of:x'].map((url) =>
    fails(`a connection to ${url} fails`, () => url),
  ),
  {
    name: 'a URL may contain a user name and a password',
    standard: '9.2.2 constructor, step 8; Fetch, which refuses user names to fetch() and not to this request',
    console,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url.replace('//', '//user:password@'));
      await Promise.race([t.until(source, 'error'), server.accept().then(() => t.until(source, 'open'))]);
      await t.fence();
    },
    expect: ['GET A', 'open'],
  },
  {
    name: 'a URL blocked by the Content-Security-Policy fails the connection',
    standard,
    console,
    async run(t) {
      const blocked = t.stream('B');
      const policy = `connect-src ${t.origins.A}`;
      const { contentWindow } = await t.frame('<p>', { headers: { 'Content-Security-Policy': policy } });
      const EventSource = await t.in(contentWindow);
      try {
        await t.until(t.watch(new EventSource(blocked.url)), 'error');
      } catch (error) {
        t.note('throws', error.name);
      }
      await t.fence();
    },
    expect: ['error CLOSED'],
  },
  {
    name: 'a data URL opens a stream whose messages have the origin null',
    standard: '9.2.6 dispatch the event, step 5: the serialization of the origin of the final URL',
    async run(t) {
      const source = t.open('data:text/event-stream,data:%20x%0A%0A');
      source.addEventListener('message', () => source.close());
      await Promise.race([t.until(source, 'message'), t.until(source, 'error')]);
    },
    expect: ['open', 'message "x" from null'],
  },
  {
    name: 'a connection to a blocked port is retried',
    standard,
    console,
    async run(t) {
      const source = t.open('http://127.0.0.1:1/');
      await t.until(source, 'error');
      source.close();
    },
    expect: ['error CONNECTING'],
  },
];
