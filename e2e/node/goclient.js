// An EventSource whose stream a Go client reads, in a process that package clients serves. It supports only what scenarios
// about the bytes of a connection use. Their traces omit what a Go client does not show.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

// Some clients deliver blocks without data. That counts only in the files about it, since many streams begin with such a
// block, a reconnection time.
const aboutBlocks = ['cuts', 'parsing'];

/** Starts the program. Returns a function that makes a class for one of its clients, for the scenarios of a file. */
export function start(program, file) {
  const passesOver = (data) => data === '' && !aboutBlocks.includes(file);
  const sources = new Map();
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const tell = (command) => child.stdin.write(`${JSON.stringify(command)}\n`);
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, ...event } = JSON.parse(line);
    sources.get(id)?.(event);
    if (event.event === 'lost') tell({ id, done: true }); // the client waits, because a listener may have closed the source
  });
  child.on('exit', (code) => {
    throw new Error(`${program} exited with status ${code}`);
  });
  let last = 0;

  return (client) => class GoEventSource extends EventTarget {
    static CONNECTING = 0;
    static OPEN = 1;
    static CLOSED = 2;
    readyState = 0;
    withCredentials = false;
    #id = ++last;

    constructor(url) {
      super();
      this.url = new URL(url).href;
      sources.set(this.#id, (event) => this.#receive(event));
      tell({ id: this.#id, url: this.url, client });
    }

    close() {
      if (sources.delete(this.#id)) tell({ id: this.#id, close: true });
      this.readyState = 2;
    }

    set onmessage(listener) {
      this.addEventListener('message', listener);
    }

    #receive({ event, type, data }) {
      if (event === 'message') {
        const message = { data: text(data), origin: new URL(this.url).origin }; // most clients do not report the origin
        if (!passesOver(message.data)) this.dispatchEvent(new MessageEvent(text(type) || 'message', message));
        return;
      }
      // A client does not report whether it will reconnect: the next request shows it.
      this.readyState = event === 'open' ? 1 : 0;
      this.dispatchEvent(new Event(event === 'open' ? 'open' : 'error'));
    }
  };
}

/** Decodes Base64 to text, as a stream is decoded. */
function text(base64 = '') {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.from(base64, 'base64'));
}

// Lines that no Go client's API can produce, and parts of other lines that it cannot.
const unseen = /^(\w+: )?(open|error (CONNECTING|OPEN|CLOSED))$|^readyState /;
const request = /^((?:not awaited: )?[A-Z]+ [ABC]\b\S*)(.*)$/;
const others = / (?!accept:|last-event-id:)[\w-]+: ("([^"\\]|\\.)*"|<[^>]*>|missing)/g; // headers
const message = / ("|of \d+ code units)/;
const told = /( id "([^"\\]|\\.)*")?( (CONNECTING|CLOSED))?$/; // after a message's data
const empty = /^(\w+: )?\S+ ""$/;

/** Reduces a trace to requests and messages, for the scenarios of a file. The next request shows which ID was received. */
export function requestsAndMessages(trace, file) {
  return trace.filter((line) => !unseen.test(line)).map((line) => {
    if (request.test(line)) return line.replace(request, (_, what, headers) => what + headers.replace(others, ''));
    return message.test(line) ? line.replace(told, '') : line;
  }).filter((line) => aboutBlocks.includes(file) || !empty.test(line));
}
