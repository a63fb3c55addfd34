// Shows pages in frames, as the server says: {stage, url}, or {stage} to take one away.
import { catalogue } from '/harness/catalogue.js';
import { engine } from '/harness/engine.js';

const frames = new Map();

// Keeping the module alive means that the browser compiles it only once.
globalThis.WebAssembly?.compileStreaming(fetch('/dist/eventsource.wasm')).then((module) => { globalThis.kept = module; }, () => {});

function show({ stage, url }) {
  frames.get(stage)?.remove();
  frames.delete(stage);
  if (!url) return;
  const frame = document.createElement('iframe');
  frame.src = url;
  document.body.append(frame);
  frames.set(stage, frame);
}

await fetch('start', { method: 'POST', body: JSON.stringify({ browser: navigator.userAgent, engine, catalogue }) });
new EventSource('stages').onmessage = ({ data }) => show(JSON.parse(data));
