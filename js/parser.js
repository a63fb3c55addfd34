// The parser of event streams before Go's is loaded, or instead of it: sections 9.2.5 "Parsing an event stream" and 9.2.6
// "Interpreting an event stream" of the HTML Standard. It agrees with sse/parser.go byte for byte. Tests compare the two, and
// hand a stream over from one to the other at every byte.

import { COLON, CR, LF, SPACE } from './ascii.js';
import { Bytes } from './bytes.js';
import { decode, encode } from './text.js';

/** How many bytes of a line to search one by one before calling indexOf. */
const NEAR = 32;

const LONGEST_NAME = 5; // retry
export const DEFAULT_RECONNECTION_TIME = 3000; // in milliseconds

/** How many bytes of an unfinished `retry` line are kept unchanged. A longer line that is valid has leading zeros. */
const LONGEST_RETRY = 64;

/** In a table, these mark a comment instead of a type, and an ID that has not changed. wasm/polyfill/lane.go uses the same. */
const COMMENT = -1;
const UNCHANGED = -1;

const NONE = new Uint8Array();
const BOM = [0xef, 0xbb, 0xbf];

/** The state of a parser between two events, except for the last event ID and the reconnection time. */
export const BETWEEN_EVENTS = {
  failed: false,
  bom: BOM.length,
  afterCR: false,
  dataLines: 0,
  data: NONE,
  type: NONE,
  idChanged: false,
  id: NONE,
  line: NONE,
};

export class Parser {
  maxEventSize;
  comments;
  /** Whether an event was larger than maxEventSize. */
  failed = false;
  lastEventId = '';
  hasRetry = false;
  #retry = 0;
  #bom = 0;
  /** Whether the last line ended in CR, so that an LF directly after it belongs to it. */
  #afterCR = false;
  /** The beginning of an unfinished line, unless the line is ignored. */
  #line = new Bytes();
  #ignored = false;
  #data = new Bytes();
  #dataLines = 0;
  #type = new Bytes();
  #id = new Bytes();
  #idChanged = false;
  /** The last event ID that parse has returned. */
  #sentId = '';
  #chunk;
  #decoded;
  /** The positions of the next LF and CR in the chunk, from the end of the last line. */
  #lf = -1;
  #cr = -1;
  #text = '';
  #table = [];

  constructor({ maxEventSize, comments = false, lastEventId = '', reconnectionTime }) {
    this.maxEventSize = maxEventSize;
    this.comments = comments;
    this.lastEventId = this.#sentId = lastEventId;
    this.hasRetry = reconnectionTime !== undefined;
    this.#retry = reconnectionTime ?? 0;
  }

  /** In milliseconds. */
  get reconnectionTime() {
    return this.hasRetry ? this.#retry : DEFAULT_RECONNECTION_TIME;
  }

  /**
   * Prepares the parser for the first byte of another stream. "Once the end of the file is reached, any pending data must be
   * discarded."
   */
  reset() {
    this.failed = this.#afterCR = this.#ignored = this.#idChanged = false;
    this.#bom = 0;
    this.#line.clear();
    this.#id.clear();
    this.#clearEvent();
  }

  /**
   * Parses the next bytes of the stream and returns their events: a string of all types, data and IDs, and a table with the
   * end of each. The table's last number is the end of an ID that was set without an event.
   */
  parse(chunk) {
    this.#chunk = chunk;
    this.#decoded = undefined;
    this.#text = '';
    this.#table = [];
    this.#lf = this.#cr = -1;
    for (let at = 0; at < chunk.length && !this.failed; ) {
      if ((this.#afterCR || this.#bom < BOM.length) && this.#skipByte(chunk[at])) {
        at++;
        continue;
      }
      const end = this.#lineEnd(at);
      if (end === chunk.length) {
        this.#keepLine(at, end);
        break;
      }
      this.#afterCR = chunk[end] === CR;
      if (this.#ignored) this.#ignored = false;
      else if (this.#line.size === 0) this.#readLine(chunk, at, end);
      else this.#endLine(at, end);
      at = end + 1;
    }
    this.#table.push(this.#newId());
    this.#data.own(chunk);
    this.#type.own(chunk);
    this.#id.own(chunk);
    this.#chunk = this.#decoded = undefined;
    return { text: this.#text, table: this.#table, failed: this.failed };
  }

  /** The state from which another parser can continue, between two chunks. */
  get state() {
    return {
      failed: this.failed,
      lastEventId: this.lastEventId,
      hasRetry: this.hasRetry,
      retry: this.#retry,
      bom: this.#bom,
      afterCR: this.#afterCR,
      dataLines: this.#dataLines,
      data: this.#data.copy(),
      type: this.#type.copy(),
      idChanged: this.#idChanged,
      id: this.#id.copy(),
      line: this.#ignored ? encode('ignored') : this.#line.copy(),
    };
  }

  set state({ failed, lastEventId, hasRetry, retry, bom, afterCR, dataLines, data, type, idChanged, id, line }) {
    this.reset();
    this.lastEventId = this.#sentId = lastEventId;
    this.hasRetry = hasRetry;
    this.#retry = retry;
    this.#bom = bom;
    this.#dataLines = dataLines;
    this.#data.append(data, 0, data.length);
    this.#type.append(type, 0, type.length);
    this.#idChanged = idChanged;
    this.#id.append(id, 0, id.length);
    this.parse(line);
    this.#afterCR = afterCR;
    this.failed = failed;
  }

  /**
   * Returns whether the byte belongs to no line: it is part of a leading BOM, or the LF of a CRLF. A CR ends its line at
   * once. Waiting for the next byte would delay an event until the server sends more.
   */
  #skipByte(byte) {
    if (this.#afterCR) {
      this.#afterCR = false;
      if (byte === LF) return true;
    }
    if (this.#bom === BOM.length) return false;
    if (byte === BOM[this.#bom]) {
      this.#bom++;
      return true;
    }
    this.#ignored = this.#bom > 0; // an incomplete BOM begins the name of an unknown field
    this.#bom = BOM.length;
    return false;
  }

  /**
   * Returns the position of the first CR or LF, or the end of the chunk. For a short line, a loop is faster than calling
   * indexOf. Most streams contain only one of the two, so a search for the other is done once per chunk.
   */
  #lineEnd(start) {
    const chunk = this.#chunk;
    const near = Math.min(chunk.length, start + NEAR);
    for (let at = start; at < near; at++) {
      const byte = chunk[at];
      if (byte === LF || byte === CR) return at;
    }
    if (this.#lf < start) this.#lf = this.#next(LF, start);
    if (this.#cr < start) this.#cr = this.#next(CR, start);
    return Math.min(this.#lf, this.#cr);
  }

  #next(byte, start) {
    const at = this.#chunk.indexOf(byte, start);
    return at < 0 ? this.#chunk.length : at;
  }

  /** Keeps an unfinished line, unless it can already be ignored. */
  #keepLine(start, end) {
    if (this.#ignored) return;
    this.#line.append(this.#chunk, start, end);
    const { buffer, start: from, end: to } = this.#line;
    const colon = findColon(buffer, from, to);
    if (colon < 0 && to - from <= LONGEST_NAME) return; // the name may be incomplete
    const field = colon < 0 ? undefined : fieldOf(buffer, from, colon);
    const value = colon + (buffer[colon + 1] === SPACE && colon + 1 < to ? 2 : 1);
    if (field === undefined || (field === '' && !this.comments)) this.#ignoreLine();
    else if (field !== 'retry') this.#fits(field, to - value);
    else if (to - from > LONGEST_RETRY) {
      const digits = retryDigits(decode(buffer.subarray(value, to)));
      if (digits === undefined) this.#ignoreLine();
      else this.#line.set(encode(`retry:${digits}`), 0, 'retry:'.length + digits.length);
    }
  }

  #ignoreLine() {
    this.#ignored = true;
    this.#line.clear();
  }

  #endLine(start, end) {
    this.#line.append(this.#chunk, start, end);
    const { start: from, end: to } = this.#line;
    // A field may keep referring to this buffer.
    this.#readLine(this.#line.take(), from, to);
  }

  /**
   * "If the line is empty: Dispatch the event. If the line starts with a U+003A COLON character (:): Ignore the line. If
   * the line contains a U+003A COLON character (:): Collect the characters on the line before the first U+003A COLON
   * character (:), and let field be that string. Collect the characters on the line after the first U+003A COLON character
   * (:), and let value be that string. If value starts with a U+0020 SPACE character, remove it from value. Otherwise, the
   * string is not empty but does not contain a U+003A COLON character (:): Process the field using the whole line as the
   * field name, and the empty string as the field value."
   */
  #readLine(buffer, start, end) {
    if (start === end) {
      this.#dispatchEvent();
      return;
    }
    const colon = findColon(buffer, start, end);
    if (colon >= 0) {
      const value = colon + 1;
      this.#processField(fieldOf(buffer, start, colon), buffer, value < end && buffer[value] === SPACE ? value + 1 : value, end);
    } else if (end - start <= LONGEST_NAME) this.#processField(fieldOf(buffer, start, end), buffer, end, end);
  }

  #processField(field, buffer, start, end) {
    switch (field) {
      case 'data':
        // "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF) character to the data
        // buffer." The LF is appended before a further line instead, so that there is no last one to remove.
        if (!this.#fits(field, end - start)) return;
        if (++this.#dataLines === 1) this.#data.set(buffer, start, end);
        else {
          this.#data.append(LINE_FEED, 0, 1);
          this.#data.append(buffer, start, end);
        }
        return;
      case 'event':
        if (this.#fits(field, end - start)) this.#type.set(buffer, start, end);
        return;
      case 'id':
        // "If the field value does not contain U+0000 NULL, then set the last event ID buffer to the field value.
        // Otherwise, ignore the field."
        if (!this.#fits(field, end - start) || includesNull(buffer, start, end)) return;
        this.#id.set(buffer, start, end);
        this.#idChanged = true;
        return;
      case 'retry':
        this.#setReconnectionTime(decode(buffer.subarray(start, end)));
        return;
      case '':
        if (!this.comments || !this.#fits(field, end - start)) return;
        this.#text += this.#decode(buffer, start, end);
        this.#table.push(COMMENT, this.#text.length, UNCHANGED);
    }
  }

  /** Returns whether the event stays within maxEventSize with a field's value of this size. */
  #fits(field, size) {
    if (field !== 'event') size += this.#type.size;
    if (field === 'data' && this.#dataLines > 0) size++;
    if (this.#data.size + size > this.maxEventSize) this.failed = true;
    return !this.failed;
  }

  /**
   * "If the field value consists of only ASCII digits, then interpret the field value as an integer in base ten, and set
   * the event stream's reconnection time to that integer. Otherwise, ignore the field." It applies at once, before the
   * blank line. The standard is ambiguous about an empty value; like Chromium, we return to the default.
   */
  #setReconnectionTime(value) {
    const digits = retryDigits(value);
    if (digits === undefined) return;
    this.hasRetry = digits !== '';
    this.#retry = Number(digits);
  }

  #dispatchEvent() {
    // 1. "Set the last event ID string of the event source to the value of the last event ID buffer." Whether or not there
    // is data.
    if (this.#idChanged) {
      this.lastEventId = this.#decode(this.#id.buffer, this.#id.start, this.#id.end);
      this.#id.clear();
      this.#idChanged = false;
    }
    // 2. "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty string and
    // return." One line with empty data is not an empty buffer: it holds that line's LF.
    if (this.#dataLines > 0) {
      this.#text += this.#decode(this.#type.buffer, this.#type.start, this.#type.end);
      const typeEnd = this.#text.length;
      this.#text += this.#decode(this.#data.buffer, this.#data.start, this.#data.end);
      this.#table.push(typeEnd, this.#text.length, this.#newId());
    }
    this.#clearEvent();
  }

  #clearEvent() {
    this.#data.clear();
    this.#dataLines = 0;
    this.#type.clear();
  }

  /** Appends the last event ID to the text if it has changed. Returns its end, or UNCHANGED. */
  #newId() {
    if (this.lastEventId === this.#sentId) return UNCHANGED;
    this.#text += this.#sentId = this.lastEventId;
    return this.#text.length;
  }

  /**
   * "Streams must be decoded using the UTF-8 decode algorithm." No UTF-8 sequence crosses a CR, an LF or a colon, so decoding
   * each value gives the same result. If a chunk is all ASCII, it is faster to decode it once.
   */
  #decode(buffer, start, end) {
    if (start === end) return '';
    if (buffer !== this.#chunk) return decode(buffer.subarray(start, end));
    this.#decoded ??= decode(buffer);
    if (this.#decoded.length === buffer.length) return this.#decoded.slice(start, end);
    return decode(buffer.subarray(start, end));
  }
}

const LINE_FEED = Uint8Array.of(LF);

/** Field names by length. A comment has an empty name. */
const FIELDS = [[''], [], ['id'], [], ['data'], ['event', 'retry']];

/** Returns the name of a known field, or undefined. */
function fieldOf(buffer, start, end) {
  for (const name of FIELDS[end - start]) if (isAt(buffer, start, name)) return name;
  return undefined;
}

function isAt(buffer, start, name) {
  for (let i = 0; i < name.length; i++) if (buffer[start + i] !== name.charCodeAt(i)) return false;
  return true;
}

/** Returns the position of the colon after a field name, or -1. Stops after the length of the longest known name. */
function findColon(buffer, start, end) {
  for (let at = start; at < end && at <= start + LONGEST_NAME; at++) if (buffer[at] === COLON) return at;
  return -1;
}

function includesNull(buffer, start, end) {
  for (let at = start; at < end; at++) if (buffer[at] === 0) return true;
  return false;
}

/** Returns the digits of a reconnection time without leading zeros, or undefined if the field must be ignored. */
function retryDigits(value) {
  if (!/^\d*$/.test(value)) return undefined;
  const digits = value.replace(/^0+(?=\d)/, '');
  return digits.length <= 20 && BigInt(digits) < 2n ** 64n ? digits : undefined;
}
