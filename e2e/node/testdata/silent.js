// An EventSource that asks for nothing and says nothing.
export class EventSource extends EventTarget {
  close() {}
}
