// How long to wait for a run. A time would be too short on a slow machine, so patience counts moments. A moment is a timer and
// a round trip to the lab, so it takes longer when the machine has more to do.

/** How the trace of a run that hangs ends. */
export const waits = 'still waiting for ';

/** The least that a moment takes, in milliseconds. */
const moments = 500;

/**
 * How many moments a run still gets when its trace is wrong already, for the reader of the trace: so many in which nothing
 * happens, and so many in all.
 */
const afterwards = { still: 2, all: 20 };

// The page's own, which a scenario may replace.
const { setTimeout, performance } = globalThis;

/**
 * Resolves when nothing has happened to t for as many moments as there is patience, when the limit is over, or when the
 * signal is aborted. A trace that begins like none of the expected ones has failed already, so it ends sooner.
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
