// HTML Standard, "unloading document cleanup steps": "If document's salvageable state is false, then: for each
// EventSource object eventSource whose relevant global object is equal to window, forcibly close eventSource."

/** @type {Set<import('./connection.js').Connection>} */
const connections = new Set();

/**
 * Firefox breaks the connections of a page when it begins to load the next, and tells the page when that has arrived.
 * In between, a failure is not the network's. What there is before it is beforeunload.
 */
let leaving = false;

const MILLISECONDS_TO_LEAVE = 3000;

/** Closes the connection when its document goes away. */
export function closeAtUnload(connection) {
  if (!globalThis.document?.defaultView) return;
  // Only while there is a connection, since Firefox does not keep a page with this listener for its return.
  if (connections.size === 0) addEventListener('beforeunload', leave);
  connections.add(connection);
}

/** The connection is CLOSED. */
export function forget(connection) {
  if (connections.delete(connection) && connections.size === 0) removeEventListener('beforeunload', leave);
}

/** Waits, in a page that is being left, until it has been. A page that stays waits once. */
export async function untilLeft() {
  if (!leaving) return;
  await new Promise((resolve) => setTimeout(resolve, MILLISECONDS_TO_LEAVE));
  leaving = false;
}

function leave() {
  leaving = true;
}

function hide({ persisted }) {
  if (!persisted) closeAll();
}

function closeAll() {
  for (const connection of connections) connection.close();
}

/**
 * Closes the connections if their document has gone away unnoticed, and returns whether it is there. document.open()
 * takes away the listeners of its window, ours too, which is put back here.
 */
export function documentIsThere() {
  if (!globalThis.document) return true;
  const there = document.defaultView !== null;
  if (!there) closeAll();
  else if (document.documentElement !== root) listen();
  return there;
}

/** What document.open() replaces. */
let root;

function listen() {
  root = document.documentElement;
  addEventListener('pagehide', hide);
}

documentIsThere();
