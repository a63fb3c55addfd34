// The option `wake`: signs that a connection which looks alive may be dead, and that a request may succeed now. What
// happens to pages that are frozen or cached is in unload.js. That a tab is shown is a sign only in browsers that do not say
// that a page was frozen.

import { TIME_TO_ARRIVE } from './unload.js';

const CLOCK_INTERVAL = 5000; // in milliseconds, or as rarely as the browser lets timers run in a hidden tab
const CLOCK_JUMP = 10_000;

/**
 * How long a connection may be silent before a tab that is shown takes it for dead, in milliseconds: the standard has
 * servers send a comment "every 15 seconds or so".
 */
const SILENCE = 20_000;

/** @type {Set<import('./connection.js').Connection>} */
const connections = new Set();
const { document } = globalThis;
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
  globalThis.addEventListener?.('online', online);
  document?.addEventListener('visibilitychange', shown);
}

function stopListening() {
  clearInterval(timer);
  globalThis.removeEventListener?.('online', online);
  document?.removeEventListener('visibilitychange', shown);
}

const online = () => wakeAll();

function shown() {
  // What has arrived meanwhile comes first.
  if (!('onresume' in document || document.hidden)) setTimeout(wakeAll, TIME_TO_ARRIVE, SILENCE);
}

function wakeAll(silence) {
  for (const connection of [...connections]) connection.wake(silence);
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
