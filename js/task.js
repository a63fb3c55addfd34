// Queues tasks of the event loop without the delays of setTimeout, which are longer in hidden tabs.

let channel;
const tasks = [];

/** Runs f in a new task. @param {(value?: any) => void} f */
export function queueTask(f) {
  // jsdom has no MessageChannel, and in Deno an open one keeps the program running.
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
    if (tasks.length === 0) channel.port1.unref?.(); // or Node.js would not exit
    task();
  };
  return channel;
}
