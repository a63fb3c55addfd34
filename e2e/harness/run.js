// Runs the scenarios that the page's URL names, one after the other, and reports their results to the lab.
import { catchUncaught } from './exceptions.js';
import { family, load } from './implementation.js';
import { findDifference } from './judge.js';
import { run } from './perform.js';
import { Scenario } from './scenario.js';

const { searchParams } = new URL(location);
const { control, file, implementation, limit = 50_000 } = Object.fromEntries(searchParams);

async function runAll() {
  const [{ default: scenarios }, lab, differences, EventSource] = await Promise.all([
    import(`/scenarios/${file}.js`),
    fetch(`${control}/lab`).then((response) => response.json()),
    fetch('/differences.json').then((response) => response.json()),
    load(implementation),
  ]);
  for (const name of searchParams.getAll('name')) {
    const scenario = scenarios.find((scenario) => scenario.name === name);
    const t = new Scenario(EventSource, implementation, lab);
    const difference = findDifference(differences, `${file}/${name}`, family(implementation));
    catchUncaught(t);
    await report({ name, ...await run(scenario, t, { difference, limit: Number(limit) }) });
  }
}

/** Reports a result to the lab, which answers when the next scenario may begin. */
function report(result) {
  return fetch(`${control}/report`, { method: 'POST', body: JSON.stringify(result) });
}

// Not awaited: WebKit would evaluate this module forever if the frame were removed in the meantime.
runAll().catch((error) => report({ failure: `the page could not run the scenario: ${error.stack}` }));
