/**
 * The EventSource that an implementation is: 'native', 'wasm', or the URL of a script, which is a module that exports it
 * (by its name or as the default) or one that sets the global.
 */
export async function load(implementation) {
  if (implementation === 'native') return globalThis.EventSource;
  const script = await import(url(implementation));
  return script.EventSource ?? script.default ?? globalThis.EventSource;
}

/** The same in the realm of another window. */
export async function loadIn(window, implementation) {
  if (implementation === 'native') return window.EventSource;
  const script = await window.eval(`import(${JSON.stringify(url(implementation))})`);
  return script.EventSource ?? script.default ?? window.EventSource;
}

function url(implementation) {
  return implementation === 'wasm' ? new URL('/dist/eventsource.mjs', import.meta.url).href : implementation;
}
