// How far to read ahead, in bytes.
const READ_AHEAD = 256 * 1024;

/** How long an error event waits for the body it tells of, in milliseconds. */
const LONGEST_WAIT = 1000;

/**
 * What a stream is read with. The body of a response is read ahead until somebody wants it: a connection that breaks takes
 * with it what its stream holds and nobody has read. A stream that the page gives is read when it is wanted.
 */
export class Body {
  #reader;
  #wanted = false;
  /** @type {Promise<ReadableStreamReadResult<Uint8Array>>[]} */
  #ahead = [];

  /** @param {ReadableStream} stream is locked from now on */
  constructor(stream, { ahead }) {
    this.#reader = stream.getReader();
    if (ahead) this.#readAhead();
  }

  /** Reads the next chunk, as ReadableStreamDefaultReader.read does. */
  read() {
    this.#wanted = true;
    return this.#ahead.shift() ?? this.#reader.read();
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
        const { done, value } = await result;
        if (done) return;
        size += value.length;
      }
    } catch {
      // whoever reads this result meets the error
    }
  }
}
