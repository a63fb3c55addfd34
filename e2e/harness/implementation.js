/**
 * How ours can run: as it is; in a browser without WebAssembly; with Go from the first input on; from one to the other at
 * every input; without its module in any browser; or with the option worker.
 */
const ours = {
  wasm: { script: '/dist/eventsource.mjs', prepare() {} },
  script: { script: '/dist/eventsource.mjs', prepare() {} },
  go: { script: '/dist/test/eventsource.mjs', prepare: ({ goOnly }) => goOnly() },
  handover: { script: '/dist/test/eventsource.mjs', prepare: ({ handOverAlways }) => handOverAlways() },
  scripted: { script: '/dist/eventsource.mjs', prepare(_, window) { window.EVENTSOURCE_WASM_URL = null; } },
  worker: { script: '/dist/eventsource.mjs', prepare: ({ EventSource }) => ({ EventSource: inWorker(EventSource) }) },
};

/** The class itself, but that each source is constructed with the option worker. */
function inWorker(EventSource) {
  const proxy = new Proxy(EventSource, {
    construct(target, args, newTarget) {
      const [url, init] = args;
      const isDictionary = init === undefined || init === null || typeof init === 'object' || typeof init === 'function';
      if (args.length === 0 || !isDictionary) return Reflect.construct(target, args, newTarget);
      return Reflect.construct(target, [url, Object.create(init ?? null, { worker: { value: true } })], newTarget);
    },
  });
  EventSource.prototype.constructor = proxy;
  return proxy;
}

/** The implementation that it is a way to run of. */
export const family = (implementation) => (implementation in ours ? 'wasm' : implementation);

/**
 * The EventSource that an implementation is: 'native', a way to run ours, or the URL of a script, which is a module that
 * exports it (by its name or as the default) or one that sets the global.
 */
export function load(implementation) {
  return loadIn(globalThis, implementation, (url) => import(url));
}

/** The same in the realm of another window. */
export async function loadIn(window, implementation, importScript = importIn(window)) {
  if (implementation === 'native') return window.EventSource;
  if (!natives.has(window)) natives.set(window, window.EventSource);
  const { script, prepare } = ours[implementation] ?? { script: implementation, prepare() {} };
  const module = await importScript(new URL(script, import.meta.url).href);
  const prepared = await prepare(module, window);
  if (prepared?.EventSource) return prepared.EventSource;
  const found = module.EventSource ?? module.default ?? window.EventSource;
  if (typeof found !== 'function' || found === natives.get(window)) {
    throw new TypeError(`${implementation} neither exports EventSource nor sets the global`);
  }
  return found;
}

/** import() of a window's realm. It is written into the document, since a policy may forbid eval. */
function importIn(window) {
  return (url) => {
    const script = window.document.createElement('script');
    script.textContent = 'document.currentScript.load = (url) => import(url)';
    window.document.documentElement.append(script);
    script.remove();
    return script.load(url);
  };
}

/** The browser's own, by window, which a script that only fills in what is missing would leave in its place. */
const natives = new WeakMap();
