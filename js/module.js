// dist/eventsource.mjs: exports the class and changes nothing.

import { setDefaultURL } from './engine.js';
import { setWorkerURL } from './remote.js';

// Written as bundlers look for it.
setDefaultURL(() => new URL('./eventsource.wasm', import.meta.url).href);
setWorkerURL(() => new URL('./eventsource.worker.js', import.meta.url).href);

export { EventSource } from './eventsource.js';
