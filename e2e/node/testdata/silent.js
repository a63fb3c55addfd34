// An EventSource that makes no request and fires no event.
export class EventSource extends EventTarget {
  close() {}
}
