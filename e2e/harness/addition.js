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
      new t.EventSource(`${t.origins.A}/x`, init).close();
      t.note('constructed', init);
    } catch (error) {
      t.note(error.name, error.message.replace(/^Failed to construct 'EventSource': (\S+):.*$/s, '$1'));
    }
  }
}

/** A scenario's t whose sources are opened with further options. */
function opensWith(t, further) {
  return new Proxy(t, {
    get(target, name) {
      if (name === 'open') return (url, init, more) => target.open(url, { ...init, ...further }, more);
      const value = target[name];
      return typeof value === 'function' && name !== 'EventSource' ? value.bind(target) : value;
    },
    set: (target, name, value) => Reflect.set(target, name, value),
  });
}

/** The scenarios of these groups with further options, except for those that do not hold with them. */
export function again(groups, further, except) {
  return Object.entries(groups).flatMap(([group, scenarios]) =>
    scenarios
      .filter(({ name, run }) => run && !(name in except))
      .map((each) => ({ ...each, ...own, name: `${group}: ${each.name}`, run: (t) => each.run(opensWith(t, further)) })),
  );
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
