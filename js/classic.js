// dist/eventsource.js: the classic script, for pages and importScripts. It installs the global.

import { setDefaultURL } from './engine.js';
import { EventSource } from './eventsource.js';
import { setWorkerURL } from './remote.js';

// A script can learn its own URL only while it first runs.
const script = /** @type {HTMLScriptElement | undefined} */ (globalThis.document?.currentScript)?.src || scriptOnStack() || globalThis.location?.href;
setDefaultURL(() => new URL('eventsource.wasm', script).href);
setWorkerURL(() => new URL('eventsource.worker.js', script).href);

/** In a worker, only the stack of an error contains the URL of the script. */
function scriptOnStack() {
  return /((?:https?|file|blob|[a-z-]+-extension):[^\s()]+?):\d+:\d+/.exec(new Error().stack)?.[1];
}

// Web IDL defines interfaces on the global object with these attributes.
Object.defineProperty(globalThis, 'EventSource', {
  value: EventSource,
  writable: true,
  enumerable: false,
  configurable: true,
});
