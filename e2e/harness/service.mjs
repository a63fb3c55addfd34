// A service worker cannot import anything later. For another implementation, the server replaces the URL of ours.
import * as module from '/dist/eventsource.mjs';
import { serve } from './remote.js';

const isNative = new URLSearchParams(location.search).get('implementation') === 'native';
const EventSource = isNative ? self.EventSource : module.EventSource ?? module.default ?? self.EventSource;

addEventListener('message', ({ ports: [port] }) => serve(port, EventSource));
