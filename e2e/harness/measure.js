// Runs the scenarios that the page's URL names, one after the other, for the scoreboard. It reports traces and does not judge
// them. The query has the parameters:
//   control, file, name, implementation   as in run.js
//   patience                              a run hangs when nothing happens for this many moments
//   limit                                 the longest duration of a run, in milliseconds
import { catchUncaught, describe } from './exceptions.js';
import { load } from './implementation.js';
import { hangs, stillWaiting } from './patience.js';
import { Scenario } from './scenario.js';

const { searchParams } = new URL(location);
const { control, file, implementation, patience, limit } = Object.fromEntries(searchParams);

// The page's functions, which a scenario may replace.
const { fetch } = globalThis;

const request = (url, init) => fetch.call(globalThis, url, init);

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

/** Leaves out of a line what the scoreboard does not compare, by the patterns of e2e/scoreboard/judge.go. */
const essence = (line) => line
  .replace(/ (accept|cache-control|pragma): (missing|"[^"]*")/g, '')
  .replace(/ from \S*( CONNECTING| CLOSED)?$/, '$1')
  .replace(/ (CONNECTING|OPEN|CLOSED)$/, '');

/** Reports a result to the lab, which answers when the next scenario may begin. */
function report(result) {
  return request(`${control}/report`, { method: 'POST', body: JSON.stringify(result) });
}

/** Runs the scenario until it ends or hangs. */
async function perform(scenario, t, expected) {
  catchUncaught(t);
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
    t.write(stillWaiting + t.waitingFor);
  });
  try {
    await Promise.race([scenario.run(t), hanging]);
    return { problem: '', unfinished };
  } catch (error) {
    return { problem: describe(error), unfinished };
  } finally {
    ended.abort();
    await t.finish();
  }
}

// Not awaited: WebKit would evaluate this module forever if the frame were removed in the meantime.
runAll().catch((error) => report({ failure: `The scenario could not run: ${error?.stack ?? error}` }));
