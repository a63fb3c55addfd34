// HTML Standard, 9.2.3 processResponse: which responses are an event stream, among all that HTTP and Fetch allow.

/** Sends a response. The trace shows whether the source accepts it as an event stream. */
function answers(name, standard, respond, events, more) {
  return {
    name,
    standard,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.addEventListener('error', () => source.close());
      await respond(await server.request(), t);
      await t.until(source, 'error');
    },
    expect: ['GET A', ...events],
    ...more,
  };
}

const refused = { console: ['Failed to load resource', 'MIME type'] };
const opened = ['open', 'message "x"', 'error CONNECTING'];

/** Sends a response with one Content-Type header for each of the types. */
function typed(name, types, events, more) {
  const spellings = ['Content-Type', 'content-type', 'CONTENT-TYPE'];
  const headers = Object.fromEntries([types].flat().map((type, i) => [spellings[i], type]));
  return answers(name, '9.2.3 processResponse, step 2; Fetch, extract a MIME type', async (exchange) => {
    await exchange.respond({ headers: { 'X-Content-Type-Options': 'nosniff', ...headers } });
    await exchange.send('data: x\n\n');
    await exchange.end();
  }, events, more);
}

const failed = ['error CLOSED'];

export default [
  answers('an unsupported Content-Encoding is ignored', 'Fetch, handle content codings: the bytes as they are, if the coding is not supported', async (exchange) => {
    await exchange.respond({ headers: { 'Content-Encoding': 'unheard-of' } });
    await exchange.send('data: x\n\n');
    await exchange.end();
  }, opened),

  answers('a response with Content-Length: 0 is an empty stream', 'HTTP/1.1, 6.3 Message Body Length', async (exchange) => {
    await exchange.respond({ headers: { 'Content-Length': 0 } });
    await exchange.truncate();
  }, ['open', 'error CONNECTING']),
  ...[102, 103].map((status) =>
    answers(`an informational ${status} response is skipped`, 'HTTP Semantics, 15.2 Informational 1xx', async (exchange) => {
      await exchange.respond({ status, headers: { 'Content-Type': null, Connection: null, 'Transfer-Encoding': null } });
      await exchange.respond();
      await exchange.send('data: x\n\n');
      await exchange.end();
    }, opened),
  ),
  answers('a source ignores trailers', 'HTTP Semantics, 6.5 Trailer Fields', async (exchange) => {
    await exchange.respond({ headers: { 'Transfer-Encoding': ' chunked' } });
    await exchange.send('9\r\ndata: x\n\n\r\n0\r\nContent-Type: text/plain\r\nRetry-After: 9\r\n\r\n');
    await exchange.truncate();
  }, opened),
  answers('Content-Disposition, Location, Expires and Retry-After are ignored', '9.2.3 processResponse: status and Content-Type', async (exchange) => {
    await exchange.respond({
      headers: {
        'Content-Disposition': 'attachment; filename="x"',
        'Content-Language': 'de',
        'Content-Location': '/elsewhere',
        Location: '/elsewhere',
        Expires: 'Thu, 01 Jan 1970 00:00:00 GMT',
        'Retry-After': '3600',
      },
    });
    await exchange.send('data: x\n\n');
    await exchange.end();
  }, opened),

  ...[207, 226, 402, 406, 409, 415, 418, 422, 425, 428, 431, 451, 501, 505, 511].map((status) =>
    answers(`status ${status} fails the connection`, '9.2.3 processResponse, step 2: the status is not 200', async (exchange) => {
      await exchange.respond({ status });
      await exchange.send('data: x\n\n');
    }, failed, refused),
  ),

  typed('a second Content-Type header overrides the first', ['text/plain', 'text/event-stream'], opened),
  typed('a text/plain header after a text/event-stream header fails the connection', ['text/event-stream', 'text/plain'], failed, refused),
  typed('two text/event-stream headers open the connection', ['text/event-stream', 'text/event-stream; x=y'], opened),
  typed('a wildcard after text/event-stream is ignored', 'text/event-stream, */*', opened),
  typed('an invalid MIME type after text/event-stream is ignored', 'text/event-stream, nonsense', opened),
  typed('a semicolon without a parameter is ignored', 'text/event-stream;', opened),
  typed('malformed MIME type parameters are ignored', 'text/event-stream; ; =; a; b="', opened),
  typed('text/event-stream followed by another word fails the connection', 'text/event-stream foo', failed, refused),
  typed('spaces around the slash of the MIME type fail the connection', 'text / event-stream', failed, refused),
  typed('a quoted MIME type fails the connection', '"text/event-stream"', failed, refused),
  typed('the MIME type */* fails the connection', '*/*', failed, refused),
  typed('the MIME type text/* fails the connection', 'text/*', failed, refused),
  typed('text/event-stream+json fails the connection', 'text/event-stream+json', failed, refused),
  typed('text/xml fails the connection', 'text/xml', failed, refused),
  typed('application/json fails the connection', 'application/json', failed, refused),
  typed('multipart/mixed fails the connection', 'multipart/mixed; boundary=x', failed, refused),
];
