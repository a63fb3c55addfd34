// dist/eventsource.cjs, for require() in Jest and older tools. It does not know the URL of the wasm module, so it loads the
// module only if EVENTSOURCE_WASM_URL is set.

import { setDefaultURL } from './engine.js';
import { setWorkerURL } from './remote.js';

setDefaultURL(() => null);
setWorkerURL(() => null);

export { EventSource } from './eventsource.js';
