// Every file of scenarios, for whoever wants them all.
export { default as reconnection } from './reconnection.js';
