import { engine } from './engine.js';

/** The row of what the implementation is known to do in the scenario in this browser's engine. */
export function findDifference(differences, scenario, implementation) {
  return differences.find((d) =>
    d.scenario === scenario && d.implementation === implementation && (d.engines?.includes(engine) ?? true));
}

/**
 * Holds a trace against what the scenario expects or, where the implementation is known to differ, against the
 * difference. A difference that is no longer there is a failure too: the list of them is a promise. One that is there
 * sometimes, as the engine happens to be quick or slow, is marked so. A run that timed out, and was not known to, is
 * unfinished: it says nothing about the implementation.
 */
export function judge({ scenario, trace, problem, difference, timedOut = false }) {
  const expected = difference?.expect ?? scenario.expect;
  const failed = failure();
  if (failed && timedOut) return { trace, reason: '', unfinished: true, failure: `The run took too long: ${trace.at(-1)}.` };
  const differs = difference && !same(trace, scenario.expect);
  return { trace, reason: differs ? difference.reason : '', unfinished: false, failure: failed };

  function failure() {
    if (problem) return `${problem}\n\ntrace until then:\n${list(trace)}`;
    if (trace.length === 0) return 'the trace is empty: a scenario that observes nothing proves nothing';
    if (difference && same(trace, scenario.expect)) {
      return difference.sometimes ? '' : `does what the standard requires, although differences.json lists a difference: ${difference.reason}`;
    }
    if (!same(trace, expected)) return `expected:\n${list(expected)}\n\ngot:\n${list(trace, expected)}`;
    return '';
  }
}

function same(a, b) {
  return a.length === b.length && a.every((line, i) => line === b[i]);
}

function list(lines, expected = lines) {
  return lines.map((line, i) => `${line === expected[i] ? '   ' : ' ! '}${line}`).join('\n');
}
