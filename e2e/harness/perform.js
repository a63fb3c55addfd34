// Runs a scenario and judges its trace, in a page or in another runtime.
import { describe } from './exceptions.js';
import { judge } from './judge.js';
import { stillWaiting } from './patience.js';

// The limit for a scenario that is known to hang, in milliseconds. Everything before the hang must happen within it.
const knownLimit = 5_000;

const waits = (lines = []) => lines.some((line) => line.startsWith(stillWaiting));

/**
 * Runs the scenario with t and returns its result, without the name. The limit ends a run that hangs; it does not measure
 * anything. With idle, a run also ends if the scenario waits for the same thing for that long. Both are in milliseconds. If
 * given, reduce removes from a trace what the implementation cannot show.
 */
export async function run(scenario, t, { difference, limit, idle = limit, reduce = (trace) => trace }) {
  const problem = await perform(scenario, t, waits(difference?.expect) ? { limit: knownLimit, idle: knownLimit } : { limit, idle });
  return judge({
    scenario: { ...scenario, expect: reduce(scenario.expect) },
    trace: reduce(t.trace),
    problem,
    difference: difference && { ...difference, expect: reduce(difference.expect) },
    timedOut: waits(t.trace),
  });
}

/** Runs the scenario and returns the error that ended it, or null. The end of the trace lists requests that were not awaited. */
async function perform(scenario, t, limits) {
  const over = new AbortController();
  const expiry = expires(t, limits, over.signal).then(() => t.write(stillWaiting + t.waitingFor));
  try {
    await Promise.race([scenario.run(t), expiry]);
    return null;
  } catch (error) {
    return describe(error);
  } finally {
    over.abort();
    await t.finish();
  }
}

// A scenario may replace the page's functions.
const { clearTimeout, setTimeout } = globalThis;

/** Resolves when one of the limits is reached. The signal ends the timers. */
function expires(t, { limit, idle }, signal) {
  return new Promise((resolve) => {
    let timer;
    let steps = t.steps;
    let left = limit;
    const wait = () => {
      const part = Math.min(idle, left);
      left -= part;
      timer = setTimeout(() => {
        if (left <= 0 || steps === t.steps) resolve();
        else {
          steps = t.steps;
          wait();
        }
      }, part);
    };
    wait();
    signal.addEventListener('abort', () => clearTimeout(timer));
  });
}
