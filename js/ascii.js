// Bytes with a meaning in event streams. This file imports nothing, so that the build can inline the constants.

export const LF = 0x0a;
export const CR = 0x0d;
export const SPACE = 0x20;
export const COLON = 0x3a;
