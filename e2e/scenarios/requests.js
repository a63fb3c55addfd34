// The request as the server sees it: what Fetch and HTTP make of the request that 9.2.2 describes.

const standard = '9.2.2 constructor, steps 8 to 14; Fetch, HTTP-network-or-cache fetch';
const referrers = 'Referrer Policy; Fetch, main fetch';

const anyOrigin = { headers: { 'Access-Control-Allow-Origin': '*' } };

function header({ headers }, name) {
  return headers.find(([key]) => key.toLowerCase() === name)?.[1] ?? 'none';
}

/** Leaves out the part of a URL that differs from run to run. */
const shorten = (url) => url.replace(/\/harness\/run\.html\?.*/, '/harness/run.html?…');

/** Opens a source in a frame with this markup and these headers. The trace shows the Referer of its first two requests. */
function refers(name, { html = '<!doctype html><p>', headers, origin = 'A' }, referer) {
  return {
    name,
    standard: referrers,
    async run(t) {
      const server = t.stream(origin);
      const { contentWindow } = await t.frame(html, { headers });
      const EventSource = await t.in(contentWindow);
      const source = t.watch(new EventSource(server.url));
      for (let i = 0; i < 2; i++) {
        const exchange = await server.request();
        t.note('referer', header(exchange, 'referer'));
        await exchange.respond(anyOrigin);
        await t.until(source, 'open');
        await exchange.send('retry: 1\n');
        if (i === 0) await exchange.end();
      }
    },
    expect: referer,
  };
}

/** The trace of two equal requests with this referrer, to origin A or another. */
function twice(origin, referer) {
  const request = origin === 'A' ? 'GET A' : `GET ${origin} origin: "A"`;
  return [request, `referer ${referer}`, 'open', 'error CONNECTING', request, `referer ${referer}`, 'open'];
}

export default [
  {
    name: 'the request has mode cors, an empty destination and no user activation',
    standard: 'Fetch Metadata; 9.2.2 constructor, step 9: a potential-CORS request whose destination is the empty string',
    async run(t) {
      for (const origin of ['A', 'B']) {
        const server = t.stream(origin);
        const source = t.open(server.url);
        const exchange = await server.request();
        for (const name of ['dest', 'mode', 'site', 'user']) t.note(name, header(exchange, `sec-fetch-${name}`));
        await exchange.respond(anyOrigin);
        await t.until(source, 'open');
        source.close();
      }
    },
    expect: [
      'GET A', 'dest empty', 'mode cors', 'site same-origin', 'user none', 'open',
      'GET B origin: "A"', 'dest empty', 'mode cors', 'site same-site', 'user none', 'open',
    ],
  },
  {
    name: 'no header is sent twice, and none describes a body',
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const exchange = await server.request();
      const { headers } = exchange;
      const names = headers.map(([name]) => name.toLowerCase());
      t.note('twice', names.filter((name, i) => names.indexOf(name) !== i));
      t.note('of a body', names.filter((name) => /^(content-|transfer-encoding|expect|range|if-)/.test(name)));
      await exchange.respond();
      await t.until(source, 'open');
    },
    expect: ['GET A', 'twice []', 'of a body []', 'open'],
  },
  {
    name: 'the fragment of a URL is not sent, but stays in the url attribute',
    standard: '9.2.2 attribute url; HTTP Semantics, 7.1 Determining the Target Resource',
    async run(t) {
      const server = t.stream('A', '/x?q#f');
      const source = t.open(server.url);
      const first = await server.accept();
      await first.send('retry: 1\n');
      await first.end();
      await server.accept();
      await t.until(source, 'open');
      await t.until(source, 'open');
      t.note(source.url);
    },
    expect: ['GET A/x?q', 'open', 'error CONNECTING', 'GET A/x?q', 'open', 'A/x?q#f'],
  },
  {
    name: 'responses are neither stored in the cache nor taken from it',
    standard: "9.2.2 constructor, step 12: set request's cache mode to 'no-store'",
    async run(t) {
      const server = t.stream();
      const cacheable = { headers: { 'Cache-Control': 'max-age=3600', ETag: '"1"' } };
      for (let i = 0; i < 2; i++) {
        const source = t.open(server.url);
        const exchange = await server.accept(cacheable);
        await exchange.send(`data: ${i}\n\n`);
        await exchange.end();
        await t.until(source, 'error');
        source.close();
      }
    },
    expect: ['GET A', 'open', 'message "0"', 'error CONNECTING', 'GET A', 'open', 'message "1"', 'error CONNECTING'],
  },
  {
    name: 'two sources with the same URL make two requests',
    standard,
    async run(t) {
      const server = t.stream();
      const [one, two] = [t.open(server.url, {}, { as: 'source' }), t.open(server.url, {}, { as: 'source' })];
      const connections = [await server.request(), await server.request()];
      t.note('two connections', connections[0].connection !== connections[1].connection);
      for (const connection of connections) await connection.respond();
      await Promise.all([t.until(one, 'open'), t.until(two, 'open')]);
    },
    expect: ['GET A', 'GET A', 'two connections true', 'source: open', 'source: open'],
  },
  {
    name: 'the Referer is the URL of the page',
    standard: referrers,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      const exchange = await server.request();
      t.note('referer', shorten(header(exchange, 'referer')));
      await exchange.respond();
      await t.until(source, 'open');
    },
    expect: ['GET A', 'referer A/harness/run.html?…', 'open'],
  },
  refers("the Referer sent to another origin is the page's origin", { origin: 'B' }, twice('B', 'A/')),
  refers('Referrer-Policy: no-referrer sends no Referer', { headers: { 'Referrer-Policy': 'no-referrer' } }, twice('A', 'none')),
  refers("Referrer-Policy: origin sends the page's origin", { headers: { 'Referrer-Policy': 'origin' } }, twice('A', 'A/')),
  refers("Referrer-Policy: unsafe-url sends the page's URL to another origin", { origin: 'B', headers: { 'Referrer-Policy': 'unsafe-url' } }, twice('B', 'A/page')),
  refers('a meta element can set the referrer policy', { html: '<!doctype html><meta name="referrer" content="no-referrer">' }, twice('A', 'none')),
];
