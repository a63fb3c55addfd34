// dist/test/eventsource.mjs: the class and its parts, for tests. The package does not include it.

import { loadEngine, readyEngine, setDefaultURL } from './engine.js';
import { setWorkerURL } from './remote.js';

export { EventSource } from './eventsource.js';
export { Lifecycle } from './lifecycle.js';
export { Parser } from './parser.js';
export { readyEngine, setDefaultURL };

setDefaultURL(() => new URL('../eventsource.wasm', import.meta.url).href);
setWorkerURL(() => new URL('../eventsource.worker.js', import.meta.url).href);

/** Loads the engine, so that every source runs in Go from its first input. */
export async function goOnly() {
  await loadEngine();
  return readyEngine();
}

let patched;

/** Makes Go take over before each input, and the script after each, as if the engine had ended. */
export async function handOverAlways() {
  const engine = await goOnly();
  if (engine === patched) return;
  patched = engine;
  const { adopt } = engine;
  engine.adopt = (...values) => {
    const source = adopt.apply(engine, values);
    let answered = false;
    Object.defineProperty(source, 'lost', { get: () => answered || engine.ended });
    for (const name of ['input', 'parse']) {
      source[name] = (...values) => {
        const result = Object.getPrototypeOf(source)[name].apply(source, values);
        answered = true;
        return result;
      };
    }
    return source;
  };
}
