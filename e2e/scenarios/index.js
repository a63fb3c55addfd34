// Every file of scenarios, for whoever wants them all.
export { default as failures } from './failures.js';
export { default as ids } from './ids.js';
export { default as reconnection } from './reconnection.js';
