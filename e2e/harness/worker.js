// A classic worker, dedicated or shared, with the implementation under test as its global EventSource. A blob: or data: worker
// sets the implementation and the base of relative URLs, which its URL cannot contain, and imports this script.
const implementation = self.implementation ?? new URLSearchParams(location.search).get('implementation');
const base = self.base ?? '';
if (implementation === 'wasm' || implementation === 'script') importScripts(`${base}/dist/eventsource.js`);

const connected = 'onconnect' in self
  ? new Promise((resolve) => { self.onconnect = ({ ports: [port] }) => resolve(port); })
  : Promise.resolve(self);

connected.then(async (port) => {
  const { load } = await import(`${base}/harness/implementation.js`);
  const { serve } = await import(`${base}/harness/remote.js`);
  serve(port, self.EventSource?.fromReadableStream ? EventSource : await load(implementation));
});
