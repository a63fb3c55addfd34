import 'eventsource-wasm/eventsource.js';
import { EventSource as Module } from 'eventsource-wasm/eventsource.mjs';
new EventSource('/events', { headers: {} }).lastEventId.trim();
new Module('/events').onerror = ({ reason }) => reason?.trim();
