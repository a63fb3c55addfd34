// A task of the event loop, not a microtask, and without the delays of setTimeout, which browsers stretch in hidden tabs.

let channel;
const tasks = [];

/** Runs f in a task of its own. @param {(value?: any) => void} f */
export function queueTask(f) {
  // jsdom has no channels, and in Deno one keeps the program from its end.
  if (!globalThis.MessageChannel || globalThis.Deno) {
    setTimeout(f);
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
