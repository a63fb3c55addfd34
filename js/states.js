// Numbers without an import before them: the build puts them where they are used.

/** What readyState is. */
export const CONNECTING = 0;
export const OPEN = 1;
export const CLOSED = 2;

/** The phases of a lifecycle, as wasm/lifecycle numbers them. */
export const IDLE = 0;
export const REQUESTING = 1;
export const STREAMING = 2;
export const WAITING = 3;
export const ENDED = 4;
