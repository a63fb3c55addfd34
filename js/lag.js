// How far a page may be behind with what was posted to it. Both ends count the same.

/** In UTF-16 code units. */
export const LARGEST_LAG = 1024 * 1024;

/** What a message costs beside its text, in the same unit. */
export const MESSAGE = 64;

export const costOf = ({ text }) => text.length + MESSAGE;
