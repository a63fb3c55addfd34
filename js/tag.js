/** Returns the class name of an object from any realm. */
export const tag = (value) => Object.prototype.toString.call(value).slice(8, -1);
