// An EventSource that never gives the thread back.
export class EventSource {
  constructor() {
    for (;;);
  }
}
