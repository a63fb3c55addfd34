// Node's half of TestHandOvers: reads streams from its input, each preceded by its length in four bytes, and prints the
// script's result for each, as JSON. A stream is parsed by the script alone, by Go alone, and with a hand-over from one to
// the other and back at each byte. This file checks that the results agree. TestStreams compares them with native.

import { readFileSync } from 'node:fs';
import { goOnly, Parser, setDefaultURL } from '../../dist/test/eventsource.mjs';

globalThis.fetch = async () => new Response(readFileSync(new URL('../../dist/eventsource.wasm', import.meta.url)), {
  headers: { 'Content-Type': 'application/wasm' },
});
setDefaultURL(() => 'http://localhost/eventsource.wasm');
const engine = await goOnly();

const RETRY = { statuses: [], initial: 0, max: 0, factor: 1, jitter: 0, attempts: Infinity, resetAfter: 0, seed: 1 };
const STREAMING = 2;

/** The maximum number of hand-overs in a stream. Longer streams skip bytes, since the time is quadratic. */
const MOST_PLACES = 400;

const LARGEST_PART = 65536;

/** Collects the events of a stream, in the format of handover_test.go. */
class Trace {
  lines = [];
  failed = false;
  lastEventId = '';

  add({ text, table, failed }, silent = false) {
    let start = 0;
    const rows = table.length - 1;
    for (let row = 0; row < rows; row += 3) {
      const [typeEnd, dataEnd, idEnd] = table.slice(row, row + 3);
      const type = typeEnd < 0 ? '#' : text.slice(start, typeEnd);
      const data = text.slice(typeEnd < 0 ? start : typeEnd, dataEnd);
      start = dataEnd;
      if (idEnd >= 0) {
        this.lastEventId = text.slice(dataEnd, idEnd);
        start = idEnd;
      }
      if (!silent) this.lines.push([type, data, typeEnd < 0 ? '' : this.lastEventId]);
    }
    if (table[rows] >= 0) this.lastEventId = text.slice(start, table[rows]);
    this.failed ||= failed;
  }

  end({ reconnectionTime }) {
    return JSON.stringify([this.lines, this.lastEventId, this.failed, this.failed ? 0 : reconnectionTime]);
  }
}

/** Go's source, at the start of a stream or in the state of a script's parser. */
function adopt(parser, options) {
  const state = { phase: STREAMING, url: 'http://localhost/', wait: 0, failures: 0, retry: RETRY, parser: parser.state };
  return engine.adopt({}, { state, options, reconnectionTime: parser.reconnectionTime });
}

function byScript(stream, options) {
  const [parser, trace] = [new Parser(options), new Trace()];
  trace.add(parser.parse(stream));
  return trace.end(parser);
}

function feed(source, bytes, trace) {
  for (let at = 0; at < bytes.length && !trace.failed; at += LARGEST_PART) trace.add(source.parse(bytes.subarray(at, at + LARGEST_PART)));
}

function byGo(stream, options) {
  const [source, trace] = [adopt(new Parser(options), options), new Trace()];
  feed(source, stream, trace);
  source.close();
  return trace.end(source);
}

/** Hands over from the script to Go at one byte, and back at another. */
function handedOver(stream, options, there, back) {
  const [parser, trace] = [new Parser(options), new Trace()];
  if (there > 0) trace.add(parser.parse(stream.subarray(0, there)));
  if (trace.failed) return trace.end(parser);
  const source = adopt(parser, options);
  feed(source, stream.subarray(there, back), trace);
  source.close();
  if (trace.failed || back === stream.length) return trace.end(source);
  const { remains, hasRetry, reconnectionTime: retry } = source;
  const last = new Parser(options);
  last.state = { ...remains.parser, hasRetry, retry, lastEventId: trace.lastEventId };
  if (remains.since.length > 0) trace.add(last.parse(remains.since), true);
  trace.add(last.parse(stream.subarray(back)));
  return trace.end(last);
}

function compare(stream, options) {
  const script = byScript(stream, options);
  const differences = [];
  const check = (name, other) => other !== script && differences.length < 3 && differences.push({ name, other });
  check('Go', byGo(stream, options));
  const step = Math.ceil(stream.length / MOST_PLACES) || 1;
  for (let at = 0; at <= stream.length; at += step) {
    check(`to Go at ${at}`, handedOver(stream, options, at, stream.length));
    check(`to Go at 0 and back at ${at}`, handedOver(stream, options, 0, at));
    check(`to Go at ${at} and back after a byte`, handedOver(stream, options, at, Math.min(at + 1, stream.length)));
  }
  return { script, differences };
}

const input = readFileSync(0);
const results = [];
for (let at = 0, number = 0; at < input.length; number++) {
  const length = input.readUInt32LE(at);
  const stream = Uint8Array.from(input.subarray(at + 4, at + 4 + length));
  at += 4 + length;
  const options = { maxEventSize: number % 5 === 4 ? 12 : 2 ** 24, comments: number % 3 === 2, lastEventId: '' };
  const { script, differences } = compare(stream, options);
  results.push(`{"script":${script},"differences":${JSON.stringify(differences)}}\n`);
}
process.stdout.write(results.join(''), () => process.exit());
