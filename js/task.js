// A task of the event loop, not a microtask, and without the delays of setTimeout, which browsers stretch in hidden tabs.

let channel;
const tasks = [];

/** Runs f in a task of its own. @param {() => void} f */
export function queueTask(f) {
  if (!globalThis.MessageChannel) {
    setTimeout(f); // as in jsdom
    return;
  }
  channel ??= open();
  tasks.push(f);
  channel.port1.ref?.();
  channel.port2.postMessage(null);
}

function open() {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    const task = tasks.shift();
    if (tasks.length === 0) channel.port1.unref?.(); // Node.js runs for as long as it waits for something
    task();
  };
  return channel;
}
