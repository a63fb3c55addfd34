// Every file of scenarios, for whoever wants them all.
export { default as close } from './close.js';
export { default as construction } from './construction.js';
export { default as crossorigin } from './crossorigin.js';
export { default as failures } from './failures.js';
export { default as frames } from './frames.js';
export { default as futile } from './futile.js';
export { default as handlers } from './handlers.js';
export { default as headers } from './headers.js';
export { default as idl } from './idl.js';
export { default as ids } from './ids.js';
export { default as lifetime } from './lifetime.js';
export { default as loading } from './loading.js';
export { default as parsing } from './parsing.js';
export { default as reconnection } from './reconnection.js';
export { default as redirects } from './redirects.js';
export { default as retry } from './retry.js';
export { default as workers } from './workers.js';
