// The exceptions of a scenario: those that nothing catches, and how one is written down.

let over = new AbortController();

/** Writes the page's uncaught exceptions to the trace of t, instead of the trace of the scenario before. */
export function catchUncaught(t) {
  over.abort();
  over = new AbortController();
  const { signal } = over;
  addEventListener('error', (event) => {
    t.uncaught(event.message);
    event.preventDefault();
  }, { signal });
  addEventListener('unhandledrejection', (event) => {
    t.uncaught(`in a promise: ${event.reason}`);
    event.preventDefault();
  }, { signal });
}

/** The error with its stack, which contains the message in some engines only. */
export function describe(error) {
  const { message, stack = '' } = Object(error);
  return stack.includes(message) ? stack : `${error}\n${stack}`.trim();
}
