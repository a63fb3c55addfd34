import { EventSource } from 'eventsource-wasm';
import polyfill = require('eventsource-wasm/polyfill');
new EventSource('/events').onerror = ({ reason }) => reason?.trim();
new polyfill.EventSource('/events').lastEventId.trim();
