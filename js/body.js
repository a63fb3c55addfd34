/** In bytes. */
const READ_AHEAD = 256 * 1024;

/** How long an error event waits for the body of its response, in milliseconds. */
const LONGEST_WAIT = 1000;

/**
 * Reads a stream. The body of a response is read ahead until the first call of read, because a broken connection discards
 * the bytes that its stream has buffered. A stream from the page is read on demand.
 */
export class Body {
  #reader;
  #wanted = false;
  /** @type {Promise<ReadableStreamReadResult<Uint8Array>>[]} */
  #ahead = [];

  /** @param {ReadableStream} stream gets locked */
  constructor(stream, { ahead }) {
    this.#reader = stream.getReader();
    if (ahead) this.#readAhead();
  }

  /** Reads the next chunk, like ReadableStreamDefaultReader.read. */
  read() {
    this.#wanted = true;
    return this.#ahead.shift() ?? this.#reader.read();
  }

  /** Returns up to `size` bytes as text, or fewer if they take longer than LONGEST_WAIT. Consumes the body. */
  async text(size) {
    let timer; // would keep Node.js running
    const deadline = new Promise((resolve) => (timer = setTimeout(resolve, LONGEST_WAIT, { done: true })));
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
      // return the text that has arrived
    }
    clearTimeout(timer);
    return text;
  }

  cancel() {
    this.#reader.cancel().catch(() => {}); // rejects if the stream has failed
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
      // read() returns this result, so its caller gets the error
    }
  }
}
