// What worker.js and sharedhub.js have in common: how what a connection tells is posted, and what a page is asked.

/** Details as they can be posted: without what only this side can use. */
export function postable({ headers, cause, ...details }) {
  if (headers) details.headers = [...headers];
  if (cause instanceof Error) details.cause = cause;
  return details;
}

/** What pages were asked and have not answered, by number. */
export class Questions {
  #open = new Map();
  #last = 0;

  /** @param {(question: number) => void} post @returns {Promise<unknown>} the answer */
  ask(post) {
    const question = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#open.set(question, { resolve, reject });
      post(question);
    });
  }

  answer(question, value, error) {
    const asked = this.#open.get(question);
    this.#open.delete(question);
    if (error === undefined) asked?.resolve(value);
    else asked?.reject(error);
  }
}
