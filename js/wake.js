// The option `wake`: watches for signs that a connection may be dead, or that a request may succeed now. unload.js handles
// frozen and cached pages. In browsers without the event `resume`, which do not say that a page was frozen, showing the tab is
// such a sign, too.

import { TIME_TO_ARRIVE } from './unload.js';

// In milliseconds. In hidden tabs, browsers run timers less often.
const CLOCK_INTERVAL = 5000;
const CLOCK_JUMP = 10_000;

/**
 * When a tab is shown, connections that have been silent for this many milliseconds reconnect. The standard asks servers to
 * send a comment "every 15 seconds or so".
 */
const SILENCE = 20_000;

/** @type {Set<import('./connection.js').Connection>} */
const connections = new Set();
const { document } = globalThis;
let timer;
let lead = 0;

/** Calls the connection's wake() for each sign, until unwatch(). */
export function watch(connection) {
  if (connections.size === 0) listen();
  connections.add(connection);
}

/** Stops calling wake(): the connection is CLOSED. */
export function unwatch(connection) {
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
  // Data that arrived meanwhile must be read first.
  if (!('onresume' in document || document.hidden)) setTimeout(wakeAll, TIME_TO_ARRIVE, SILENCE);
}

function wakeAll(silence) {
  // An error event of one may close another.
  for (const connection of [...connections]) if (connections.has(connection)) connection.wake(silence);
}

/**
 * Detects that the computer has slept: performance.now() stops, Date.now() does not. A late timer does not mean sleep,
 * because browsers run timers in hidden tabs as rarely as once a minute. On Windows, both clocks continue, and the event
 * `online` detects sleep.
 */
function watchClock() {
  const jump = clockLead() - lead;
  lead += jump;
  if (jump > CLOCK_JUMP) wakeAll();
}

const clockLead = () => Date.now() - performance.now();
