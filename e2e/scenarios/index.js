// Every file of scenarios, for whoever wants them all.
export { default as construction } from './construction.js';
export { default as failures } from './failures.js';
export { default as idl } from './idl.js';
export { default as ids } from './ids.js';
export { default as parsing } from './parsing.js';
export { default as reconnection } from './reconnection.js';
export { default as retry } from './retry.js';
