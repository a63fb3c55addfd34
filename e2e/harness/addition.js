// Helpers for scenarios about our additions.

export const own = { only: 'wasm', standard: 'none: an addition' };

/** A scenario with one stream. Run opens the source. */
export function scenario(name, run, expect, more) {
  return { name, ...own, run: (t) => run(t, t.stream()), expect, ...more };
}

export const failedToLoad = { console: ['Failed to load resource'] };

/** Notes these properties of all further events of the type. */
export function tell(t, source, type, ...names) {
  source.addEventListener(type, (event) => t.note(...names.map((name) => `${name} ${JSON.stringify(event[name])}`)));
}

/** Notes the name of the option for which each init is rejected. */
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

/** A scenario's t that opens sources with further options. */
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

/** The scenarios of these groups with further options, without those that do not apply with them. */
export function again(groups, further, except) {
  return Object.entries(groups).flatMap(([group, scenarios]) =>
    scenarios
      .filter(({ name, run }) => run && !(name in except))
      .map((each) => ({ ...each, ...own, name: `${group}: ${each.name}`, run: (t) => each.run(opensWith(t, further)) })),
  );
}

/** Notes the console's warnings while f runs. */
export async function warnings(t, f) {
  const { warn } = console;
  console.warn = (text) => t.note(text);
  try {
    await f();
  } finally {
    console.warn = warn;
  }
}

export function lockedStream() {
  const stream = new ReadableStream();
  stream.getReader();
  return stream;
}
