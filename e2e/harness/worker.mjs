// A module worker, which imports the implementation under test.
import { load } from './implementation.js';
import { serve } from './remote.js';

serve(self, await load(new URLSearchParams(location.search).get('implementation')));
