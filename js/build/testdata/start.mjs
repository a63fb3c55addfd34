// Starts the module in a folder, parses an event with it and prints its data.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const folder = process.argv[2];
const { goOnly, Parser, setDefaultURL } = await import(pathToFileURL(`${folder}/test/eventsource.mjs`));
globalThis.fetch = async () => new Response(readFileSync(`${folder}/eventsource.wasm`), { headers: { 'Content-Type': 'application/wasm' } });
setDefaultURL(() => 'http://localhost/eventsource.wasm');
const engine = await goOnly();
const options = { maxEventSize: 2 ** 24, comments: false, lastEventId: '' };
const retry = { statuses: [], initial: 0, max: 0, factor: 1, jitter: 0, attempts: Infinity, resetAfter: 0, seed: 1 };
const state = { phase: 2, url: 'http://localhost/', wait: 0, failures: 0, retry, parser: new Parser(options).state };
const source = engine.adopt({}, { state, options, reconnectionTime: 3000 });
const { text } = source.parse(new TextEncoder().encode('data: hello\n\n'));
source.close();
process.stdout.write(`${text.replace(/^message/, '')}\n`, () => process.exit());
