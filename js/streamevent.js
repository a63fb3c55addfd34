/**
 * A MessageEvent of a stream. It is one, by instanceof, constructor, tag and members, but holds its fields itself:
 * to have MessageEvent convert a dictionary costs more than all else that an event takes.
 */
export class StreamEvent extends MessageEvent {
  #data;
  #origin;
  #lastEventId;

  constructor(type, data, origin, lastEventId) {
    super(type);
    this.#data = data;
    this.#origin = origin;
    this.#lastEventId = lastEventId;
  }

  get data() {
    return this.#data;
  }

  get origin() {
    return this.#origin;
  }

  get lastEventId() {
    return this.#lastEventId;
  }

  /** @deprecated as MessageEvent's, which it overrules only to hold what it sets. */
  initMessageEvent(type, bubbles = false, cancelable = false, data = null, origin = '', lastEventId = '', ...more) {
    if (this.eventPhase !== Event.NONE) return;
    super.initMessageEvent(type, bubbles, cancelable, data, origin, lastEventId, ...more);
    this.#data = data;
    this.#origin = super.origin;
    this.#lastEventId = super.lastEventId;
  }
}

// Members are listed in the order of the prototype that has them: it has them all, in MessageEvent's order.
function defineAsMessageEvent({ prototype }) {
  const own = Object.getOwnPropertyDescriptors(prototype);
  for (const name of Object.keys(own)) delete prototype[name];
  for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(MessageEvent.prototype))) {
    const replaced = name !== 'constructor' && own[name];
    Object.defineProperty(prototype, name, replaced ? { ...replaced, enumerable: true } : descriptor);
  }
}

defineAsMessageEvent(StreamEvent);
