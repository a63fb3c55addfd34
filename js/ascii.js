// The bytes of a stream that mean something. Without an import before them: the build puts them where they are used.

export const LF = 0x0a;
export const CR = 0x0d;
export const SPACE = 0x20;
export const COLON = 0x3a;
