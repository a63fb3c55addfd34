// This file imports nothing, so that the build can inline the constants.

/** The values of readyState. */
export const CONNECTING = 0;
export const OPEN = 1;
export const CLOSED = 2;

/** The phases of a lifecycle. The numbers are those of wasm/lifecycle. */
export const IDLE = 0;
export const REQUESTING = 1;
export const STREAMING = 2;
export const WAITING = 3;
export const ENDED = 4;
