// What is measured: each connects to a URL, calls back with every message's data, and returns what closes it.
import { fetchEventSource } from '@microsoft/fetch-event-source';
import { EventSourcePolyfill } from 'event-source-polyfill';
import { EventSource as Eventsource } from 'eventsource';
import { EventSource as Extended } from 'extended-eventsource';
import { SSE } from 'sse.js';

const byClass = (Class, init) => (url, receive) => {
  const source = new Class(url, init);
  source.onmessage = ({ data }) => receive(data);
  return () => source.close();
};

/** @type {Record<string, (url: string, receive: (data: string) => void) => () => void>} */
export const peers = {
  eventsource: byClass(Eventsource),
  'event-source-polyfill': byClass(EventSourcePolyfill),
  'extended-eventsource': byClass(Extended, { disableLogger: true }),
  'sse.js': byClass(SSE),
  'fetch-event-source': (url, receive) => {
    const controller = new AbortController();
    const { signal } = controller;
    fetchEventSource(url, { signal, openWhenHidden: true, onmessage: ({ data }) => receive(data) }).catch(() => {});
    return () => controller.abort();
  },
};
