// dist/eventsource.cjs, for require(): Jest and older tools. It cannot know where its module is, so it loads none unless
// EVENTSOURCE_WASM_URL is set.

import { setDefaultURL } from './engine.js';
import { setWorkerURL } from './remote.js';

setDefaultURL(() => null);
setWorkerURL(() => null);

export { EventSource } from './eventsource.js';
