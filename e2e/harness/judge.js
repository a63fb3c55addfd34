import { engine } from './engine.js';

/** The known difference of the implementation in this scenario and engine, if there is one. */
export function findDifference(differences, scenario, implementation) {
  return differences.find((d) =>
    d.scenario === scenario && d.implementation === implementation && (d.engines?.includes(engine) ?? true));
}

/**
 * Compares a trace with the known difference or, without one, with what the scenario expects. A difference that no longer
 * occurs is a failure too, so that the list stays correct, unless it is marked as occurring only sometimes. A run that timed
 * out is unfinished unless the known difference is that timeout: it shows nothing about the implementation.
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
