import { SSE } from 'sse.js';
import { byClass } from './byclass.mjs';

export default byClass(SSE);
