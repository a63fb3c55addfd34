// jsdom has no fetch. This environment for jest gives it what Node.js has of it, as others do.
const { TestEnvironment } = require('jest-environment-jsdom');

module.exports = class extends TestEnvironment {
  async setup() {
    await super.setup();
    const names = ['fetch', 'Headers', 'Request', 'Response', 'ReadableStream', 'TextDecoder', 'TextEncoder'];
    for (const name of names) this.global[name] = globalThis[name];
  }
};
