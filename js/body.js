// How far to read ahead, in bytes.
const READ_AHEAD = 256 * 1024;

/** How long an error event waits for the body it tells of, in milliseconds. */
const LONGEST_WAIT = 1000;

/**
 * The body of a response, read ahead until somebody wants it. A connection that breaks takes with it what its stream
 * holds and nobody has read: events that arrived while the engine was loading would be lost.
 */
export class Body {
  #reader;
  #wanted = false;
  /** @type {Promise<ReadableStreamReadResult<Uint8Array>>[]} */
  #ahead = [];
  /** Whether the last of them has not arrived. */
  #pending = false;

  /** @param {ReadableStream} stream is locked from now on */
  constructor(stream) {
    this.#reader = stream.getReader();
    this.#readAhead();
  }

  /** Reads the next chunk, as ReadableStreamDefaultReader.read does. */
  read() {
    this.#wanted = true;
    return this.#ahead.shift() ?? this.#reader.read();
  }

  /** Puts a result of the caller's behind what has arrived and nobody has read, and returns whether there is anything. */
  insert(result) {
    const arrived = this.#ahead.length - (this.#pending ? 1 : 0);
    if (arrived > 0) this.#ahead.splice(arrived, 0, Promise.resolve(result));
    return arrived > 0;
  }

  /** Returns the text that the first bytes are, without waiting long for them. Nothing else reads what follows. */
  async text(size) {
    const deadline = new Promise((resolve) => setTimeout(resolve, LONGEST_WAIT, { done: true }));
    const decoder = new TextDecoder();
    let text = '';
    try {
      for (let left = size; left > 0; ) {
        const { done, value } = await Promise.race([this.read(), deadline]);
        if (done) break;
        text += decoder.decode(value.subarray(0, left), { stream: true });
        left -= value.length;
      }
    } catch {
      // what there was of it is told
    }
    return text;
  }

  /** Tells the stream that nobody reads on. */
  cancel() {
    this.#reader.cancel().catch(() => {}); // it has failed before
  }

  async #readAhead() {
    try {
      for (let size = 0; !this.#wanted && size < READ_AHEAD; ) {
        const result = this.#reader.read();
        this.#ahead.push(result);
        this.#pending = true;
        const { done, value } = await result;
        this.#pending = false;
        if (done) return;
        size += value.length;
      }
    } catch {
      // whoever reads this result meets the error
    }
  }
}
