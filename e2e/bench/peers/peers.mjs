// The libraries that ours is compared with.
import eventsource from './eventsource.mjs';
import eventSourcePolyfill from './event-source-polyfill.mjs';
import extendedEventsource from './extended-eventsource.mjs';
import fetchEventSource from './fetch-event-source.mjs';
import sse from './sse.js.mjs';

/** @type {Record<string, (url: string, receive: (data: string) => void, opened?: () => void) => () => void>} */
export const peers = {
  eventsource,
  'event-source-polyfill': eventSourcePolyfill,
  'extended-eventsource': extendedEventsource,
  'sse.js': sse,
  'fetch-event-source': fetchEventSource,
};
