// What the scenarios of options have in common: they are ours alone, and each has one stream.

export const own = { only: 'wasm', standard: 'none: an addition' };

/** A scenario with one stream. The source is opened by run. */
export function scenario(name, run, expect, more) {
  return { name, ...own, run: (t) => run(t, t.stream()), expect, ...more };
}

export const failedToLoad = { console: ['Failed to load resource'] };

/** What the next events of that type tell, as far as it is asked for. */
export function tell(t, source, type, ...names) {
  source.addEventListener(type, (event) => t.note(...names.map((name) => `${name} ${JSON.stringify(event[name])}`)));
}

/** Writes down which member each init is refused for. */
export function refuse(t, inits) {
  for (const init of inits) {
    try {
      new t.EventSource('/x', init).close();
      t.note('constructed', init);
    } catch (error) {
      t.note(error.name, error.message.replace(/^Failed to construct 'EventSource': (\S+):.*$/s, '$1'));
    }
  }
}

/** Writes down what f, and what it waits for, warns of on the console. */
export async function warnings(t, f) {
  const { warn } = console;
  console.warn = (text) => t.note(text);
  try {
    await f();
  } finally {
    console.warn = warn;
  }
}
