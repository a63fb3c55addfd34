// Loads the implementations that run outside of a browser.
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { asProgram } from './applicable.js';
import { requestsAndMessages, start } from './goclient.js';

/**
 * Returns the class, the implementation's name in differences.json, and the function that reduces its traces. Module is the
 * file that exports the class, unless it is the runtime's own. Go is the file that makes every source of ours run on Go.
 * Client is a Go client, which program serves. Fence is a class that reconnects as the standard says, for t.fence().
 */
export async function load({ file, name, own, module, go, client, program }) {
  if (client) {
    const by = start(program, file);
    const reduce = (trace) => requestsAndMessages(asProgram(trace), file);
    return { EventSource: by(client), Fence: start(program, 'parsing')('ours'), family: `go ${client}`, reduce };
  }
  const family = own ? 'wasm' : name;
  if (!module) return { EventSource: globalThis.EventSource, family, reduce: asProgram };
  const { EventSource, goOnly, install } = await import(pathToFileURL(module).href);
  install?.(); // undici replaces the runtime's classes, including those of events
  if (go) {
    globalThis.EVENTSOURCE_WASM_URL = new Uint8Array(await readFile(go)); // fetch cannot read a file
    await goOnly();
  }
  return { EventSource, family, reduce: asProgram };
}
