import { StrictMode, useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { Messages } from './messages';

let effects = 0;

/** Tells whether React runs effects twice, as its development build does in StrictMode. */
function Probe() {
  useEffect(() => {
    document.body.dataset.effects = String(++effects);
  }, []);
  return null;
}

const root = createRoot(document.getElementById('root')!);
root.render(
  <StrictMode>
    <Messages />
    <Probe />
  </StrictMode>,
);
document.addEventListener('unmount', () => root.unmount());
