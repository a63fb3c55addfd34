/** What something is, of whatever realm. */
export const tag = (value) => Object.prototype.toString.call(value).slice(8, -1);
