// Imports the package without a window, and fails if the import changes the global object.
import assert from 'node:assert/strict';

const globals = () => new Map(Reflect.ownKeys(globalThis).map((key) => [key, globalThis[key]]));

assert.equal(globalThis.window, undefined);
globals(); // Node defines some globals when they are first read
const before = globals();
const { EventSource } = await import('eventsource-wasm');
const after = globals();
assert.deepEqual([...after.keys()], [...before.keys()]);
for (const [key, value] of before) assert.ok(Object.is(after.get(key), value), String(key));
assert.equal(EventSource.name, 'EventSource');

await import('eventsource-wasm/polyfill');
assert.equal(globalThis.EventSource, EventSource);
