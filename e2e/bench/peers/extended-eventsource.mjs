import { EventSource } from 'extended-eventsource';
import { byClass } from './byclass.mjs';

export default byClass(EventSource, { disableLogger: true });
