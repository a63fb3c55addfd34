export { default as EventSource } from 'reconnecting-eventsource';
