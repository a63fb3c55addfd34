// An EventSource that ends the process.
export class EventSource {
  constructor() {
    console.error('out of here');
    process.exit(3);
  }
}
