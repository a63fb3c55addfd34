/** Storage up to this size is kept for the next value. */
const LARGEST_KEPT = 64 * 1024;

const NONE = new Uint8Array();

/** Bytes of a stream: a view of a part of a chunk, or a copy that can grow. */
export class Bytes {
  buffer = NONE;
  start = 0;
  end = 0;
  #spare = NONE;
  #owned = true;

  get size() {
    return this.end - this.start;
  }

  /** Refers to a part of a chunk without copying it. */
  set(buffer, start, end) {
    this.clear();
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    this.#owned = false;
  }

  clear() {
    if (this.#owned && this.buffer.length > 0) this.#spare = this.buffer.length <= LARGEST_KEPT ? this.buffer : NONE;
    this.buffer = NONE;
    this.start = this.end = 0;
    this.#owned = true;
  }

  /** Copies the bytes if they are still a view of the chunk, whose owner may reuse it. */
  own(chunk) {
    if (this.buffer === chunk) this.#grow(this.size);
  }

  append(buffer, start, end) {
    const size = this.size + end - start;
    if (!this.#owned || this.start + size > this.buffer.length) this.#grow(size);
    if (end - start < 32) {
      for (let at = start; at < end; at++) this.buffer[this.end++] = buffer[at];
      return;
    }
    this.buffer.set(buffer.subarray(start, end), this.end);
    this.end += end - start;
  }

  /** Returns the storage and gives up its ownership. */
  take() {
    const { buffer } = this;
    this.buffer = NONE;
    this.start = this.end = 0;
    return buffer;
  }

  copy() {
    return this.buffer.slice(this.start, this.end);
  }

  #grow(size) {
    const grown = size <= this.#spare.length ? this.#spare : new Uint8Array(Math.max(size, 2 * this.size, 32));
    grown.set(this.buffer.subarray(this.start, this.end));
    this.#spare = NONE;
    this.buffer = grown;
    this.end -= this.start;
    this.start = 0;
    this.#owned = true;
  }
}
