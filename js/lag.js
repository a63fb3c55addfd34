// How much a page may have left to process of what was posted to it. Both ends count the same.

/** In UTF-16 code units. */
export const LARGEST_LAG = 1024 * 1024;

/** The cost of a message in addition to its text, in the same unit. */
export const MESSAGE = 64;

export const costOf = ({ text }) => text.length + MESSAGE;
