// How long to wait for a run. A time would be too short on a slow machine, so patience counts moments. A moment is a timer and
// a round trip to the lab, so it takes longer when the machine has more to do.

/** How the trace of a run that hangs ends. */
export const stillWaiting = 'still waiting for ';

/** The shortest duration of a moment, in milliseconds. */
const moments = 500;

/**
 * How many more moments a run gets once its trace is wrong, so that the trace shows what follows: this many in which nothing
 * happens, and this many in total.
 */
const afterwards = { still: 2, all: 20 };

// The page's functions, which a scenario may replace.
const { setTimeout, performance } = globalThis;

/**
 * Resolves when nothing has happened to t for as many moments as patience says, when the limit is reached, or when the signal is
 * aborted. A trace that differs from all expected ones has failed already, so its run ends sooner.
 */
export async function hangs(t, { expected, essence, patience, limit, moment, signal }) {
  const begun = performance.now();
  let [before, wrong] = ['', 0];
  for (let still = 0; still < patience; still++) {
    await new Promise((resolve) => setTimeout(resolve, moments));
    if (signal.aborted) return;
    if (still) await moment().catch(() => {}); // the lab may be gone
    if (signal.aborted || performance.now() - begun > limit) return;
    const now = `${t.trace.length} ${t.steps}`;
    if (now !== before) still = 0;
    before = now;
    if (expected.some((lines) => begins(t.trace.map(essence), lines))) continue;
    if (still >= afterwards.still || ++wrong >= afterwards.all) return;
  }
}

const begins = (trace, { expect, then = [] }) => trace.every((line, i) => (i < expect.length ? line === expect[i] : then.includes(line)));
