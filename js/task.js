// A task of the event loop, not a microtask, and without the delays of setTimeout, which browsers stretch in hidden tabs.

let channel;
const tasks = [];

/** Runs f in a task of its own. @param {() => void} f */
export function queueTask(f) {
  if (!channel) {
    channel = new MessageChannel();
    channel.port1.onmessage = () => tasks.shift()();
  }
  tasks.push(f);
  channel.port2.postMessage(null);
}
