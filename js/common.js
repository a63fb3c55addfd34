// dist/eventsource.cjs, for require(): Jest and older tools. It does not know where its module is, so the script does the
// work, unless EVENTSOURCE_WASM_URL says where to load it from.

import { setDefaultURL } from './engine.js';
import { setWorkerURL } from './remote.js';

setDefaultURL(() => null);
setWorkerURL(() => null);

export { EventSource } from './eventsource.js';
