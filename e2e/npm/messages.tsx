import { useState } from 'react';
import { useEventSource } from './useEventSource';

/** Shows what a stream sends, by the README's hook. */
export function Messages() {
  const [data, setData] = useState<string[]>([]);
  useEventSource('/events?topic=news', 'secret', (event) => setData((before) => [...before, event.data]));
  return <p id="messages">{data.join(' ')}</p>;
}
