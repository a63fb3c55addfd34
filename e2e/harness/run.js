// Runs the scenarios of a file that the page's URL names, one after the other, and reports their traces to the lab.
import { family, load } from './implementation.js';
import { findDifference, judge } from './judge.js';
import { Scenario } from './scenario.js';

const { searchParams } = new URL(location);
const { control, file, implementation, limit = 50_000 } = Object.fromEntries(searchParams);

// The limit is far above what any scenario needs: it ends a run that hangs and measures nothing. One that is known to hang
// is given less, in which the rest of it has to happen.
const knownLimit = 5_000;

/** How the trace of a run that hangs ends. */
const stillWaiting = 'still waiting for ';

/** Ends the listeners of a scenario. */
let over = new AbortController();

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
    const hangs = difference?.expect.some((line) => line.startsWith(stillWaiting));
    const problem = await perform(scenario, t, hangs ? knownLimit : Number(limit));
    await report({ name, ...judge({ scenario, trace: t.trace, problem, difference, timedOut: t.trace.some((line) => line.startsWith(stillWaiting)) }) });
  }
}

/** Tells the lab, which answers when the next scenario may begin. */
function report(result) {
  return fetch(`${control}/report`, { method: 'POST', body: JSON.stringify(result) });
}

/** Runs the scenario to its end, which includes that the server saw no request that was not awaited. */
async function perform(scenario, t, limit) {
  over.abort(); // that of the scenario before, which has been reported since it ended
  over = new AbortController();
  const until = { signal: over.signal };
  addEventListener('error', (event) => {
    t.uncaught(event.message);
    event.preventDefault();
  }, until);
  addEventListener('unhandledrejection', (event) => {
    t.uncaught(`in a promise: ${event.reason}`);
    event.preventDefault();
  }, until);
  let timer;
  const expiry = new Promise((resolve) => {
    timer = setTimeout(() => {
      t.write(stillWaiting + t.waitingFor);
      resolve();
    }, limit);
  });
  try {
    await Promise.race([scenario.run(t), expiry]);
    return null;
  } catch (error) {
    return error.stack?.includes(error.message) ? error.stack : `${error}\n${error.stack}`;
  } finally {
    clearTimeout(timer);
    await t.finish();
  }
}

// Not awaited here: if the frame is removed meanwhile, WebKit evaluates this module forever.
runAll().catch((error) => report({ failure: `the page could not run the scenario: ${error.stack}` }));
