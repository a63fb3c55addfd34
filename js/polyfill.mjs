// dist/polyfill.mjs, imported as eventsource-wasm/polyfill: installs the global like eventsource.js, for bundlers.

import { EventSource } from './eventsource.mjs';

// Web IDL defines interfaces on the global object with these attributes.
Object.defineProperty(globalThis, 'EventSource', {
  value: EventSource,
  writable: true,
  enumerable: false,
  configurable: true,
});

export { EventSource };
