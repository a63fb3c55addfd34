// The page's side of the scripted server. The server knows only bytes; all HTTP is written here.
import { engine } from './engine.js';
import { requestLine } from './trace.js';

// Firefox does not report a response, not even its status, before the first byte of the body.
const needsFirstByte = engine === 'firefox';

/** The first bytes of a body that make Firefox report the response. */
export const OPENING = ':-\n';

/** A URL of the scripted server and the requests for it, at any origin and with any path appended. */
export class Stream {
  #id;
  #t;
  #record;

  constructor(t, { id, origin, path, record }) {
    this.#t = t;
    this.#id = id;
    this.#record = record;
    this.url = this.at(origin, path);
  }

  /** The URL of the same stream at another origin or with another path. */
  at(origin, path = '') {
    return `${this.#t.origins[origin]}/stream/${this.#id}${path}`;
  }

  /** Waits for the next request and writes it to the trace. */
  async request() {
    await this.#t.begin();
    const request = await this.#t.control(`request for ${this.url}`, `request?stream=${this.#id}`);
    if (this.#record) this.#t.write(requestLine(request, this.#t.origins));
    const exchange = new Exchange(this.#t, request);
    this.#t.exchanges.push(exchange);
    return exchange;
  }

  /** Waits for the next request and answers it, by default with an event stream. */
  async accept(response) {
    const exchange = await this.request();
    await exchange.respond(response);
    return exchange;
  }
}

/** A request and its response on the same connection. */
export class Exchange {
  #t;
  #id;
  #chunked;
  #waitsForBody = false;

  constructor(t, { id, connection, method, headers, body }) {
    this.#t = t;
    this.#id = id;
    Object.assign(this, { connection, method, headers, body });
  }

  /**
   * Sends the head of a response. Its body is chunked unless the headers say otherwise: a header whose value is null is
   * left out, and without Transfer-Encoding and Content-Length the body ends when the connection is closed. In Firefox the
   * harness may add a first byte to the body; headAlone prevents that.
   */
  async respond({ status = 200, headers = {}, headAlone = false } = {}) {
    const all = { 'Content-Type': 'text/event-stream', Connection: 'close', ...headers };
    const hasBody = status !== 204 && status !== 304;
    if (hasBody && !('Content-Length' in all) && !('Transfer-Encoding' in all)) all['Transfer-Encoding'] = 'chunked';
    this.#chunked = all['Transfer-Encoding'] === 'chunked';
    const lines = Object.entries(all).filter(([, value]) => value !== null).map(([name, value]) => `${name}: ${value}\r\n`);
    await this.#write(`HTTP/1.1 ${status} \r\n${lines.join('')}\r\n`);
    this.#waitsForBody = needsFirstByte && this.#chunked && !headAlone;
  }

  /** Sends a comment if the engine would not report the response without it. The trace does not show it. */
  async begin() {
    if (this.#waitsForBody) await this.send(OPENING);
  }

  async redirect(status, location, headers = {}) {
    await this.respond({ status, headers: { 'Content-Type': null, 'Content-Length': 0, Location: location, ...headers } });
  }

  /**
   * Sends chunks, each a string or bytes. Each is one write and one round trip of the page, which keeps the chunks apart: the
   * answer to the control request comes after the chunk.
   */
  async send(...chunks) {
    this.#waitsForBody = false;
    for (const chunk of chunks) {
      const body = bytes(chunk);
      await this.#write(...(this.#chunked ? [`${body.length.toString(16)}\r\n`, body, '\r\n'] : [body]));
    }
  }

  /** Ends the body properly. */
  async end() {
    await this.#close(this.#chunked ? '0\r\n\r\n' : '');
  }

  /** Closes the connection. This ends a body without a length or chunks, and truncates any other. */
  async truncate() {
    await this.#close('');
  }

  async #close(body) {
    this.#waitsForBody = false;
    await this.#t.control('end', `end?request=${this.#id}`, { method: 'POST', body });
  }

  /** Breaks the connection with a TCP reset. Bytes that the client has not read are lost. */
  async reset() {
    this.#waitsForBody = false;
    await this.#t.control('reset', `reset?request=${this.#id}`, { method: 'POST' });
  }

  /** Waits until the client has closed the connection and writes that to the trace. */
  async closed() {
    await this.#t.begin();
    await this.#t.control('the client to close the connection', `closed?request=${this.#id}`);
    this.#t.write('connection closed by the client');
  }

  async #write(...parts) {
    const body = await new Blob(parts).arrayBuffer();
    await this.#t.control('write', `write?request=${this.#id}`, { method: 'POST', body });
  }
}

function bytes(chunk) {
  if (chunk instanceof Uint8Array) return chunk;
  return typeof chunk === 'string' ? new TextEncoder().encode(chunk) : Uint8Array.from(chunk);
}
