// dist/polyfill.mjs, eventsource-wasm/polyfill: installs the global as eventsource.js does, for those who bundle.

import { EventSource } from './eventsource.mjs';

// As Web IDL defines the properties of a global object for its interfaces.
Object.defineProperty(globalThis, 'EventSource', {
  value: EventSource,
  writable: true,
  enumerable: false,
  configurable: true,
});

export { EventSource };
