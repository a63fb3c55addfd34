// An EventSource that blocks the thread forever.
export class EventSource {
  constructor() {
    for (;;);
  }
}
