import { EventSource } from 'eventsource';
import { byClass } from './byclass.mjs';

export default byClass(EventSource);
