// dist/eventsource.js: a classic script, for pages and for workers' importScripts, that installs the global.

import { setDefaultURL } from './engine.js';
import { EventSource } from './eventsource.js';
import { setWorkerURL } from './remote.js';

// Only while the script runs for the first time is it known where it came from.
const script = /** @type {HTMLScriptElement | undefined} */ (globalThis.document?.currentScript)?.src || scriptOnStack() || globalThis.location?.href;
setDefaultURL(() => new URL('eventsource.wasm', script).href);
setWorkerURL(() => new URL('eventsource.worker.js', script).href);

/** In a worker nothing tells a script its address but the stack of an error. */
function scriptOnStack() {
  return /((?:https?|file|blob|[a-z-]+-extension):[^\s()]+?):\d+:\d+/.exec(new Error().stack)?.[1];
}

// As Web IDL defines the properties of a global object for its interfaces.
Object.defineProperty(globalThis, 'EventSource', {
  value: EventSource,
  writable: true,
  enumerable: false,
  configurable: true,
});
