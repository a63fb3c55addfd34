// Run by jest with jsdom: a component opens a source, as it would in a page.
import { expect, test } from '@jest/globals';
import { EventSource } from 'eventsource-wasm';

test('a source receives an event with a header', async () => {
  const { STREAM, TOKEN } = process.env;
  const source = new EventSource(STREAM, { headers: { Authorization: `Bearer ${TOKEN}` } });
  const shown = document.createElement('p');
  await new Promise((resolve, reject) => {
    source.onerror = ({ reason, status, cause }) => reject(new Error(`${reason} ${status}`, { cause }));
    source.onmessage = (event) => {
      shown.textContent = event.data;
      resolve();
    };
  });
  expect(source.readyState).toBe(EventSource.OPEN);
  source.close();
  expect(source.readyState).toBe(EventSource.CLOSED);
  expect(shown.textContent).toBe('hello');
});
