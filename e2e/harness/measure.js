// Runs the scenarios that the page's URL names, one after the other, for the scoreboard. It reports traces and does not judge
// them. The query has the parameters:
//   control, file, name, implementation   as in run.js
//   patience                              a run hangs when nothing happens for this many moments
//   limit                                 the longest duration of a run, in milliseconds
import { load } from './implementation.js';
import { hangs, waits } from './patience.js';
import { Scenario } from './scenario.js';

const { searchParams } = new URL(location);
const { control, file, implementation, patience, limit } = Object.fromEntries(searchParams);

// The page's functions, which a scenario may replace.
const { fetch } = globalThis;

const request = (url, init) => fetch.call(globalThis, url, init);

/** Removes the listeners of a scenario and ends the wait for its end. */
let over = new AbortController();

async function runAll() {
  const [{ default: scenarios }, lab, allowed, EventSource] = await Promise.all([
    import(`/scenarios/${file}.js`),
    request(`${control}/lab`).then((response) => response.json()),
    request('/allowed.json').then((response) => response.json()),
    load(implementation),
  ]);
  for (const name of searchParams.getAll('name')) {
    const scenario = scenarios.find((scenario) => scenario.name === name);
    const t = new Scenario(EventSource, implementation, lab);
    const expected = [scenario, ...allowed.filter((row) => row.scenario === `${file}/${name}`)]
      .map(({ expect, then }) => ({ expect: expect.map(essence), then: then?.map(essence) }));
    const { problem, unfinished } = await perform(scenario, t, expected);
    await report({ name, trace: t.trace, failure: problem, unfinished });
  }
}

/** Leaves out of a line what the scoreboard does not compare. The rules are those of essence in e2e/scoreboard/judge.go. */
const essence = (line) => line.replace(/ (accept|cache-control|pragma): (missing|"[^"]*")/g, '').replace(/ from \S+( CONNECTING| CLOSED)?$/, '$1').replace(/ (CONNECTING|OPEN|CLOSED)$/, '');

/** Reports a result to the lab, which answers when the next scenario may begin. */
function report(result) {
  return request(`${control}/report`, { method: 'POST', body: JSON.stringify(result) });
}

/** Runs the scenario until it ends or hangs. */
async function perform(scenario, t, expected) {
  over.abort(); // ends that of the scenario before, which has been reported
  over = new AbortController();
  const { signal } = over;
  addEventListener('error', (event) => {
    t.uncaught(event.message);
    event.preventDefault();
  }, { signal });
  addEventListener('unhandledrejection', (event) => {
    t.uncaught(`in a promise: ${event.reason}`);
    event.preventDefault();
  }, { signal });
  const ended = new AbortController();
  let unfinished = false;
  const hanging = hangs(t, {
    expected,
    essence,
    patience: Number(patience),
    limit: Number(limit),
    moment: async () => (await request(`${control}/lab`)).text(),
    signal: ended.signal,
  }).then(() => {
    if (ended.signal.aborted) return;
    unfinished = true;
    t.write(waits + t.waitingFor);
  });
  try {
    await Promise.race([scenario.run(t), hanging]);
    return { problem: '', unfinished };
  } catch (error) {
    return { problem: `${error?.stack?.includes(error.message) ? error.stack : error}`, unfinished };
  } finally {
    ended.abort();
    await t.finish();
  }
}

// Not awaited: WebKit would evaluate this module forever if the frame were removed in the meantime.
runAll().catch((error) => report({ failure: `The scenario could not run: ${error?.stack ?? error}` }));
