// A module worker, which imports the implementation under test.
import { serve } from './remote.js';

const native = new URLSearchParams(location.search).get('implementation') === 'native';
serve(self, native ? EventSource : (await import('/dist/eventsource.mjs')).EventSource);
