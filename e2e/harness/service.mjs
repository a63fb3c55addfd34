// A service worker, which can import nothing later: it has native and ours only.
import { EventSource as wasm } from '/dist/eventsource.mjs';
import { serve } from './remote.js';

const implementation = new URLSearchParams(location.search).get('implementation');

addEventListener('message', ({ ports: [port] }) => serve(port, implementation === 'native' ? self.EventSource : wasm));
