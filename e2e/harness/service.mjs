// A service worker, which can import nothing later: it has native and ours only.
import { EventSource as wasm } from '/dist/eventsource.mjs';
import { serve } from './remote.js';

const native = new URLSearchParams(location.search).get('implementation') === 'native';

addEventListener('message', ({ ports: [port] }) => serve(port, native ? self.EventSource : wasm));
