import 'eventsource-wasm/polyfill';

const source: EventSource = new EventSource('/events?topic=news', { headers: { Authorization: 'Bearer secret' } });
source.onmessage = ({ data }) => {
  document.getElementById('messages')!.textContent += data;
};
