// Sources in workers: the page's side of one, and the worker's side, which worker.js and worker.mjs start.
import { watch } from './trace.js';

/** A worker as the page sees it. Its events go into the trace as those of the page's own sources do. */
export class RemoteWorker {
  #port;
  #labels;

  constructor(t, kind) {
    this.#labels = t.origins;
    const worker = start(kind, t);
    worker.onerror = (event) => t.uncaught(`in the worker: ${event.message}`);
    this.#port = worker.port ?? worker;
    this.#port.onmessage = ({ data: { line, type, uncaught } }) => {
      if (line) t.write(line);
      if (uncaught) t.uncaught(uncaught);
      if (type) t.inbox(this).put(type);
    };
  }

  open(url, init) {
    this.#port.postMessage({ open: { url, init, labels: this.#labels } });
  }

  close() {
    this.#port.postMessage({ close: true });
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
  port.onmessage = ({ data: { open, close } }) => {
    if (open) {
      source = new EventSource(open.url, open.init);
      watch(source, { labels: open.labels }, (line, { type }) => port.postMessage({ line, type }));
    }
    if (close) source?.close();
  };
  self.addEventListener('unhandledrejection', ({ reason }) => port.postMessage({ uncaught: `in a promise: ${reason}` }));
  port.postMessage({ type: 'ready' });
}
