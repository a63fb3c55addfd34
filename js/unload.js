// HTML Standard, "unloading document cleanup steps": "If document's salvageable state is false, then: for each
// EventSource object eventSource whose relevant global object is equal to window, forcibly close eventSource." A page that
// is frozen, or kept in the back/forward cache, keeps its sources, and hears nothing of them until it is back.

import { queueTask } from './task.js';

/** @type {Set<import('./source.js').Source>} */
const sources = new Set();

/**
 * Firefox breaks the connections of a page when it begins to load the next, and tells the page when that has arrived.
 * In between, a failure is not the network's. What there is before it is beforeunload.
 */
let leaving = false;

const MILLISECONDS_TO_LEAVE = 3000;

/** How long what arrived while the page was frozen may take to be read, in milliseconds. */
export const TIME_TO_ARRIVE = 500;

/** What waits for the page to be back, while it is away: native events come after resume and pageshow. @type {Promise<void> | undefined} */
export let away;
let comeBack;

/** Whether it is in the back/forward cache, or about to be. */
let cached = false;

/**
 * Listened to for as long as there is a source: Firefox does not keep a page that listens to beforeunload for its return,
 * and other code of the page is not to notice ours.
 */
const EVENTS = ['beforeunload', 'pagehide', 'pageshow', 'freeze', 'resume'];

/** Closes the source when its document goes away. */
export function closeAtUnload(source) {
  if (!globalThis.document?.defaultView) return;
  sources.add(source);
  listen();
}

/** The source is CLOSED. */
export function forget(source) {
  if (!sources.delete(source) || sources.size > 0) return;
  for (const type of EVENTS) removeEventListener(type, observe, true);
  back();
}

/** Waits, in a page that is being left, until it has been. A page that stays waits once. */
export async function untilLeft() {
  if (leaving) {
    await new Promise((resolve) => setTimeout(resolve, MILLISECONDS_TO_LEAVE));
    leaving = false;
  }
  await away;
}

/** @param {Event & { persisted?: boolean }} event */
function observe({ type, persisted }) {
  if (type === 'beforeunload') leaving = true;
  // After all other listeners, which find the source as it was.
  else if (type === 'pagehide' && !persisted) addEventListener(type, closeAll, { once: true });
  else if (type === 'pagehide' || type === 'freeze') {
    away ??= new Promise((resolve) => (comeBack = resolve));
    if (type === 'freeze') return;
    cached = true;
    each('suspend');
  } else if (type === 'pageshow' || !cached) {
    queueTask(back);
    // Chromium never tells the reader of a fetch what arrived while the page was frozen, nor anything after it.
    if (type === 'resume') setTimeout(each, TIME_TO_ARRIVE, 'renew', TIME_TO_ARRIVE);
  }
}

/** In a task, after the listeners of all these events. */
function back() {
  comeBack?.();
  away = undefined;
  if (cached) each('wake');
  cached = false;
}

function closeAll() {
  each('close');
}

/** Calls a method of each source; suspend and wake only of those that are shared or have the option `wake`. */
function each(method, value) {
  for (const source of sources) if (source.source.wake || source.source.shared || !/suspend|wake/.test(method)) source[method](value);
}

/**
 * Closes the sources if their document has gone away unnoticed, and returns whether it is there. document.open() takes
 * away the listeners of its window, ours too, which are put back here.
 */
export function documentIsThere() {
  if (!globalThis.document) return true;
  const there = document.defaultView !== null;
  if (!there) closeAll();
  else if (sources.size > 0 && document.documentElement !== root) listen();
  return there;
}

/** What document.open() replaces. */
let root;

function listen() {
  root = document.documentElement;
  // freeze and resume do not bubble.
  for (const type of EVENTS) addEventListener(type, observe, true);
}
