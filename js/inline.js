// dist/inline.mjs, imported as eventsource-wasm/inline: the class, with the module and the worker in a second script. Every
// bundler follows import(), so there is no file to copy.

import { setDefaultURL } from './engine.js';
import { setWorkerURL } from './remote.js';

let assets;

/** Loads the script once. After a failure, the next source tries again. */
async function load() {
  assets ??= import('./eventsource.assets.mjs');
  try {
    return await assets;
  } catch (error) {
    assets = undefined;
    throw error;
  }
}

setDefaultURL(async () => {
  const { module } = await load();
  const compressed = Uint8Array.from(atob(module), (character) => character.charCodeAt(0));
  const stream = new Response(compressed).body.pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
});
setWorkerURL(async () => {
  const { worker } = await load();
  return URL.createObjectURL(new Blob([worker], { type: 'text/javascript' }));
});

export { EventSource } from './eventsource.js';
