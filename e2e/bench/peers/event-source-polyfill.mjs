import { EventSourcePolyfill } from 'event-source-polyfill';
import { byClass } from './byclass.mjs';

export default byClass(EventSourcePolyfill);
