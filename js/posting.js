// Used by worker.js and sharedhub.js to post reports of a connection and to ask pages questions.

/** Returns the details in a form that can be posted. */
export function postable({ headers, cause, ...details }) {
  if (headers) details.headers = [...headers];
  if (cause instanceof Error) details.cause = cause;
  return details;
}

/** Questions that the page has not answered yet. */
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
