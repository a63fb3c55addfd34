// HTML Standard, "unloading document cleanup steps": "If document's salvageable state is false, then: for each
// EventSource object eventSource whose relevant global object is equal to window, forcibly close eventSource." A page that is
// frozen or in the back/forward cache keeps its sources, and receives no events until it returns.

import { queueTask } from './task.js';

/** @type {Set<import('./source.js').Source>} */
const sources = new Set();

/**
 * Whether beforeunload was fired. When Firefox begins to load the next page, it breaks the connections of this one. It
 * fires pagehide only when the next page has arrived. Failures between the two events are not network errors.
 */
let leaving = false;

const MILLISECONDS_TO_LEAVE = 3000;

/** How long a resumed page waits for data that arrived while it was frozen, in milliseconds. */
export const TIME_TO_ARRIVE = 500;

/** Resolves when a frozen or cached page returns: native events come after resume and pageshow. @type {Promise<void> | undefined} */
export let away;
let comeBack;

/** Whether the page is in the back/forward cache, or about to enter it. */
let cached = false;

/**
 * The page listens to these only while there is a source. Firefox does not put a page that listens to beforeunload into the
 * back/forward cache, and an unused script must not change that.
 */
const EVENTS = ['beforeunload', 'pagehide', 'pageshow', 'freeze', 'resume'];

/** Closes the source when its document goes away. */
export function closeAtUnload(source) {
  if (!globalThis.document?.defaultView) return;
  sources.add(source);
  listen();
}

/** Stops watching a source that is CLOSED. */
export function forget(source) {
  if (!sources.delete(source) || sources.size > 0) return;
  for (const type of EVENTS) removeEventListener(type, observe, true);
  back();
}

/**
 * Waits until the page has been left if that has begun, and until it returns if it is frozen or cached. If the page is not
 * left after all, this waits only once.
 */
export async function untilLeft() {
  if (leaving) {
    await new Promise((resolve) => setTimeout(resolve, MILLISECONDS_TO_LEAVE));
    leaving = false;
  }
  await away;
}

/** @param {Event & { persisted?: boolean }} event */
function observe({ type, target, persisted }) {
  if (target !== document && target !== globalThis) return; // an event of the page itself, such as one called freeze in a table
  if (type === 'beforeunload') leaving = true;
  // After all other listeners, which must see the source unchanged.
  else if (type === 'pagehide' && !persisted) addEventListener(type, closeAll, { once: true });
  else if (type === 'pagehide' || type === 'freeze') {
    away ??= new Promise((resolve) => (comeBack = resolve));
    if (!persisted) return; // frozen
    cached = true;
    each('suspend');
  } else if (type === 'pageshow' || !cached) {
    queueTask(back);
    // In Chromium, fetch never delivers data that arrived while the page was frozen, nor any after it. A late timer must
    // not count a newer connection as silent. Cordova fires resume without freeze: its pages were not frozen.
    const since = performance.timeOrigin + performance.now(); // a worker has another time origin
    if (type === 'resume' && away) setTimeout(() => each('renew', since), TIME_TO_ARRIVE);
  }
}

/** Runs in a task, after the listeners of these events. */
function back() {
  comeBack?.();
  away = undefined;
  if (cached) each('wake');
  cached = false;
}

function closeAll() {
  each('close');
}

/** Calls a method of each source. suspend and wake are only for sources with the option `shared` or `wake`. */
function each(method, value) {
  for (const source of sources) if (source.source.wake || source.source.shared || !/suspend|wake/.test(method)) source[method](value);
}

/**
 * Returns whether the document still exists, and closes the sources if not. document.open() removes all listeners from the
 * window; this adds ours again.
 */
export function documentIsThere() {
  if (!globalThis.document) return true;
  const there = document.defaultView !== null;
  if (!there) closeAll();
  else if (sources.size > 0 && document.documentElement !== root) listen();
  return there;
}

/** The document element. document.open() replaces it. */
let root;

function listen() {
  root = document.documentElement;
  // freeze and resume do not bubble.
  for (const type of EVENTS) addEventListener(type, observe, true);
}
