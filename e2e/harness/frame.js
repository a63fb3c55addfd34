// A document that the page cannot access.
import { load } from './implementation.js';
import { serve } from './remote.js';

const implementation = new URLSearchParams(location.search).get('implementation');

addEventListener('message', async ({ ports: [port] }) => serve(port, await load(implementation)), { once: true });
