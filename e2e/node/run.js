// Runs scenarios of one file outside of a browser and writes a line of JSON for each result. The argument says, as JSON:
//   list                        only the catalogue, with why scenarios do not apply
//   file, names                 the scenarios
//   name, module, go, program   the implementation, see implementations.js
//   control, origin             the lab's URL, and its origin A
//   limit, idle                 how long a scenario may take, and wait for the same thing, in milliseconds
import process from 'node:process';
import { catalogue } from '../harness/catalogue.js';
import { findDifference } from '../harness/judge.js';
import { run } from '../harness/perform.js';
import { Scenario } from '../harness/scenario.js';
import { load } from './implementations.js';
import { inapplicable, stale } from './applicable.js';

// Scenarios use browser APIs. Node 20 lacks this one.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((...functions) => ([resolve, reject] = functions));
  return { promise, resolve, reject };
};

/** Marks our lines, since an implementation may write to the console too. */
const MARK = 'result: ';

const task = JSON.parse(process.argv[2]);

function write(value) {
  return new Promise((resolve) => process.stdout.write(`${MARK}${JSON.stringify(value)}\n`, resolve));
}

/** Fetches as a page of origin A: the lab answers no one else. */
async function openLab(control) {
  const origin = new URL(task.origin).origin;
  const asPage = (url, init) => fetch(url, { ...init, headers: { ...init?.headers, Origin: origin } });
  const lab = await (await asPage(`${control}/lab`)).json();
  return { ...lab, fetch: asPage };
}

/** The running scenario, for uncaught exceptions. */
let current;

process.on('uncaughtException', (error) => current?.uncaught(String(error)));
process.on('unhandledRejection', (reason) => current?.uncaught(`in a promise: ${reason}`));

async function runAll() {
  const [{ default: scenarios }, { default: differences }, lab] = await Promise.all([
    import(`../scenarios/${task.file}.js`),
    import('../differences.json', { with: { type: 'json' } }),
    openLab(task.control),
  ]);
  const { EventSource, Fence, family, reduce } = await load(task);
  for (const name of task.names) {
    const scenario = scenarios.find((scenario) => scenario.name === name);
    current = new Scenario(EventSource, task.name, { ...lab, Fence });
    const difference = findDifference(differences, `${task.file}/${name}`, family);
    const result = await run(scenario, current, { difference, limit: task.limit, idle: task.idle, reduce });
    await write({ name, ...result });
    if (result.failure) return; // the next scenario needs a clean process
  }
}

async function list() {
  const wrong = stale(catalogue);
  if (wrong.length > 0) throw new Error(`applicable.js names scenarios that do not exist: ${wrong.join('; ')}`);
  await write(catalogue.map((scenario) => ({ ...scenario, inapplicable: inapplicable(scenario, task) })));
}

(task.list ? list() : runAll()).then(() => process.exit(), (error) => {
  console.error(error);
  process.exit(1);
});
