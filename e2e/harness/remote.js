// Sources in other realms: workers, and documents that the page cannot access. This has the page's side, and the realm's side,
// which worker.js, worker.mjs and frame.js start.
import { watch } from './trace.js';

/** The page's side of another realm. The realm's events go into the trace like those of the page's sources. */
export class Remote {
  #t;
  #port;
  #end;

  constructor(t, { port, end }) {
    this.#t = t;
    this.#port = port;
    this.#end = end;
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

  /** Notes a property of a source that the realm opens and closes in one task. */
  async noteClosed(url, property) {
    this.#port.postMessage({ note: { url, property } });
    await this.#t.until(this, 'note');
  }

  /** Ends the realm in the way of its kind. */
  terminate() {
    return this.#end();
  }
}

/**
 * Starts a worker, 'dedicated', 'module', 'shared', 'blob', 'data' or 'service', or a frame, 'other origin' or 'sandboxed'.
 * @returns {Promise<{ port: Worker | MessagePort, end: () => void }>}
 */
export async function start(kind, t) {
  const script = (name, origin = 'A') => `${t.origins[origin]}/harness/${name}?implementation=${encodeURIComponent(t.implementation)}`;
  switch (kind) {
    case 'dedicated':
      return own(new Worker(script('worker.js')), t);
    case 'module':
      return own(new Worker(script('worker.mjs'), { type: 'module' }), t);
    case 'blob':
      return own(new Worker(URL.createObjectURL(new Blob([inPlace(script('worker.js'), t)], { type: 'text/javascript' }))), t);
    case 'data':
      return own(new Worker(`data:text/javascript,${encodeURIComponent(inPlace(script('worker.js'), t))}`), t);
    case 'shared':
      return { port: new SharedWorker(script('worker.js'), `${Math.random()}`).port, end() {} };
    case 'service':
      return service(await navigator.serviceWorker.register(script('service.mjs'), { type: 'module', scope: './none' }));
    case 'other origin':
      return framed(script('frame.html', 'B'));
    case 'sandboxed':
      return framed(script('frame.html'), 'allow-scripts');
  }
}

/** The script of a worker whose URL has no parameters. */
const inPlace = (script, t) => `self.implementation = '${t.implementation}'; self.base = '${t.origins.A}'; importScripts('${script}');`;

function own(worker, t) {
  worker.onerror = (event) => t.uncaught(`in the worker: ${event.message}`);
  return { port: worker, end: () => worker.terminate() };
}

async function service(registration) {
  const worker = registration.installing ?? registration.waiting ?? registration.active;
  while (worker.state !== 'activated') await new Promise((resolve) => (worker.onstatechange = resolve));
  return { port: connect(worker), end: () => registration.unregister() };
}

async function framed(url, sandbox) {
  const frame = document.createElement('iframe');
  if (sandbox) frame.sandbox = sandbox;
  frame.src = url;
  const loaded = new Promise((resolve) => (frame.onload = resolve));
  document.body.append(frame);
  await loaded;
  return { port: connect(frame.contentWindow, '*'), end: () => frame.remove() };
}

/** Sends one end of a channel and returns the other. */
function connect(realm, ...origin) {
  const { port1, port2 } = new MessageChannel();
  realm.postMessage('connect', ...origin, [port2]);
  return port1;
}

/** The realm's side: opens sources on request and sends their events to the page. */
export function serve(port, EventSource) {
  let source;
  port.onmessage = ({ data: { open, close, note } }) => {
    if (open) {
      source = new EventSource(open.url, open.init);
      watch(source, { labels: open.labels }, (line, { type }) => port.postMessage({ line, type }));
    }
    if (close) source?.close();
    if (note) port.postMessage({ type: 'note', line: closed(note, EventSource) });
  };
  self.addEventListener('unhandledrejection', ({ reason }) => port.postMessage({ uncaught: `in a promise: ${reason}` }));
  port.postMessage({ type: 'ready' });
}

function closed({ url, property }, EventSource) {
  try {
    const source = new EventSource(url);
    source.close();
    return String(source[property]);
  } catch (error) {
    return `throws ${error.name}`;
  }
}
