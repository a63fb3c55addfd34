// Sources in workers: the page's side of one, and the worker's side, which worker.js and worker.mjs start.
import { watch } from './trace.js';

/** A worker as the page sees it. Its events go into the trace as those of the page's own sources do. */
export class RemoteWorker {
  #t;
  #worker;
  #port;

  constructor(t, kind) {
    this.#t = t;
    const worker = start(kind, t);
    worker.onerror = (event) => t.uncaught(`in the worker: ${event.message}`);
    this.#worker = worker;
    this.#port = worker.port ?? worker;
    this.#port.onmessage = ({ data: { line, type, uncaught } }) => {
      if (line) t.write(line);
      if (uncaught) t.uncaught(uncaught);
      if (type) t.inbox(this).put(type);
    };
  }

  open(url, init) {
    this.#port.postMessage({ open: { url, init, labels: this.#t.origins } });
  }

  close() {
    this.#port.postMessage({ close: true });
  }

  /** Writes down the value of an expression in the worker. */
  async note(expression) {
    this.#port.postMessage({ note: expression });
    await this.#t.until(this, 'note');
  }

  terminate() {
    this.#worker.terminate();
  }
}

function start(kind, { implementation, origins }) {
  const script = (name) => `${origins.A}/harness/${name}?implementation=${implementation}`;
  switch (kind) {
    case 'dedicated':
      return new Worker(script('worker.js'));
    case 'module':
      return new Worker(script('worker.mjs'), { type: 'module' });
    case 'shared':
      return new SharedWorker(script('worker.js'), crypto.randomUUID());
    case 'blob': {
      const config = `self.implementation = '${implementation}'; self.base = '${origins.A}';`;
      const source = `${config} importScripts('${script('worker.js')}');`;
      return new Worker(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
    }
  }
}

/** The worker's side: opens sources as it is told and sends home what they receive. */
export function serve(port, EventSource) {
  let source;
  port.onmessage = ({ data: { open, close, note } }) => {
    if (open) {
      source = new EventSource(open.url, open.init);
      watch(source, { labels: open.labels }, (line, { type }) => port.postMessage({ line, type }));
    }
    if (close) source?.close();
    if (note) port.postMessage({ type: 'note', line: evaluate(note, EventSource) });
  };
  self.addEventListener('unhandledrejection', ({ reason }) => port.postMessage({ uncaught: `in a promise: ${reason}` }));
  port.postMessage({ type: 'ready' });
}

function evaluate(expression, EventSource) {
  try {
    return String(new Function('EventSource', `return ${expression}`)(EventSource));
  } catch (error) {
    return `throws ${error.name}`;
  }
}
