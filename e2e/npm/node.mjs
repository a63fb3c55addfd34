// A program for Node.js that sends a header, receives an event and ends.
import assert from 'node:assert/strict';
import { EventSource } from 'eventsource-wasm';

const [url, token] = process.argv.slice(2);
const diagnostics = [];
const source = new EventSource(url, { headers: { Authorization: `Bearer ${token}` }, diagnostics });
source.onerror = ({ reason, status }) => assert.fail(`${reason} ${status}`);
source.onmessage = ({ data, lastEventId, origin }) => {
  assert.equal(origin, new URL(url).origin);
  assert.notEqual(lastEventId, '');
  source.close();
  console.log(data, diagnostics.map(({ what }) => what).join(' '));
};
