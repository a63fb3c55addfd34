// How far a page may lag behind the messages that were posted to it. Both ends count in the same way.

/** In UTF-16 code units. */
export const LARGEST_LAG = 1024 * 1024;

/** The cost of a message in addition to its text. */
export const MESSAGE = 64;

export const costOf = ({ text }) => text.length + MESSAGE;
