// Runs a scenario to its end and judges it. What only a page or only another runtime can do, it is given.
import { judge } from './judge.js';

// A scenario that is known to hang is given less than the limit. The rest of it has to happen in that time. In milliseconds.
const knownLimit = 5_000;

/** How the trace of a run that hangs ends. */
const stillWaiting = 'still waiting for ';

const waits = (lines = []) => lines.some((line) => line.startsWith(stillWaiting));

/**
 * Runs the scenario with t and returns its result, without the name. The limit ends a run that hangs and measures nothing. With
 * idle, a run ends sooner in which the scenario waits for the same thing all that time. Both are in milliseconds. Reduce, if it is given, leaves out of a trace what the implementation cannot show.
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

/** The end of a run includes that the server saw no request that was not awaited. */
async function perform(scenario, t, limits) {
  const over = new AbortController();
  const expiry = expires(t, limits, over.signal).then(() => t.write(stillWaiting + t.waitingFor));
  try {
    await Promise.race([scenario.run(t), expiry]);
    return null;
  } catch (error) {
    return error.stack?.includes(error.message) ? error.stack : `${error}\n${error.stack}`;
  } finally {
    over.abort();
    await t.finish();
  }
}

// A scenario may replace the page's own.
const { clearTimeout, setTimeout } = globalThis;

/** Resolves when one of the limits is over. The signal ends the timers. */
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
