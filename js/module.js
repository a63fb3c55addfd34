// dist/eventsource.mjs: exports the class. It has no side effects.

import { setDefaultURL } from './engine.js';
import { setWorkerURL } from './remote.js';

// Bundlers look for exactly this form.
setDefaultURL(() => new URL('./eventsource.wasm', import.meta.url).href);
setWorkerURL(() => new URL('./eventsource.worker.js', import.meta.url).href);

export { EventSource } from './eventsource.js';
