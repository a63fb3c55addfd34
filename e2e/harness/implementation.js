/** How ours can run: as it is; in a browser without WebAssembly; with Go from the first input on; or from one to the other at every input. */
const ours = {
  wasm: { script: '/dist/eventsource.mjs', prepare() {} },
  script: { script: '/dist/eventsource.mjs', prepare() {} },
  go: { script: '/dist/test/eventsource.mjs', prepare: ({ goOnly }) => goOnly() },
  handover: { script: '/dist/test/eventsource.mjs', prepare: ({ handOverAlways }) => handOverAlways() },
};

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
  const { script, prepare } = ours[implementation] ?? { script: implementation, prepare() {} };
  const module = await importScript(new URL(script, import.meta.url).href);
  await prepare(module);
  return module.EventSource ?? module.default ?? window.EventSource;
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
