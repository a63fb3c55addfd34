// The option `wake`: what says that a connection which looks alive may be dead, and that one which is waited for may be
// had now. That a tab is hidden or shown says nothing of either.

const CLOCK_INTERVAL = 5000; // in milliseconds, or as rarely as the browser lets timers run in a hidden tab
const CLOCK_JUMP = 10_000;

/** @type {Set<import('./connection.js').Connection>} */
const connections = new Set();
let timer;
let lead = 0;

/** Calls the connection's wake() for as long as it is not forgotten. */
export function wakeUp(connection) {
  if (connections.size === 0) listen();
  connections.add(connection);
}

/** The connection is CLOSED. */
export function letSleep(connection) {
  if (connections.delete(connection) && connections.size === 0) stopListening();
}

function listen() {
  lead = clockLead();
  timer = setInterval(watchClock, CLOCK_INTERVAL);
  globalThis.addEventListener?.('online', wakeAll);
  globalThis.document?.defaultView?.addEventListener('pageshow', returned);
}

function stopListening() {
  clearInterval(timer);
  globalThis.removeEventListener?.('online', wakeAll);
  globalThis.document?.defaultView?.removeEventListener('pageshow', returned);
}

function returned({ persisted }) {
  if (persisted) wakeAll();
}

function wakeAll() {
  for (const connection of [...connections]) connection.wake();
}

/**
 * A computer that sleeps stops the clock which counts from the page's beginning, and not the one on the wall. How late
 * this timer comes tells nothing: in a hidden tab browsers run it once a minute. Where both clocks go on, as in Windows,
 * it is the network that tells, when it comes back.
 */
function watchClock() {
  const jump = clockLead() - lead;
  lead += jump;
  if (jump > CLOCK_JUMP) wakeAll();
}

const clockLead = () => Date.now() - performance.now();
