/**
 * The ways to run ours: wasm, as published; script, in a browser without WebAssembly; go, on Go from the first input;
 * handover, changing the engine at every input; scripted, without the wasm; worker, with the option worker.
 */
const ours = {
  wasm: { script: '/dist/eventsource.mjs', prepare() {} },
  script: { script: '/dist/eventsource.mjs', prepare() {} },
  go: { script: '/dist/test/eventsource.mjs', prepare: ({ goOnly }) => goOnly() },
  handover: { script: '/dist/test/eventsource.mjs', prepare: ({ handOverAlways }) => handOverAlways() },
  scripted: { script: '/dist/eventsource.mjs', prepare(_, window) { window.EVENTSOURCE_WASM_URL = null; } },
  worker: { script: '/dist/eventsource.mjs', prepare: ({ EventSource }) => ({ EventSource: inWorker(EventSource) }) },
};

/** The class, with the option worker added to each source. */
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

/** The name of the implementation in differences.json: wasm for all ways to run ours. */
export const family = (implementation) => (implementation in ours ? 'wasm' : implementation);

/**
 * Returns the EventSource of an implementation: 'native', a way to run ours, or the URL of a script. The script is a module that
 * exports EventSource, by name or as the default, or sets the global.
 */
export function load(implementation) {
  return loadIn(globalThis, implementation, (url) => import(url));
}

/** Like load, in the realm of another window. */
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

/** The window's import(). A script element defines it because a Content-Security-Policy may forbid eval(). */
function importIn(window) {
  return (url) => {
    const script = window.document.createElement('script');
    script.textContent = 'document.currentScript.load = (url) => import(url)';
    window.document.documentElement.append(script);
    script.remove();
    return script.load(url);
  };
}

/** The native EventSource by window. A polyfill that leaves it in place is not an implementation. */
const natives = new WeakMap();
