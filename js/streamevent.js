/**
 * The MessageEvent with an event's fields, for the members that hardly anybody asks for. Not a field of the event, which
 * every event would pay for.
 * @type {WeakMap<StreamEvent, MessageEvent>}
 */
const reals = new WeakMap();

/**
 * A message of a stream: a MessageEvent by instanceof, constructor, tag and members. To the browser it is an Event that
 * holds the fields itself. To make a MessageEvent takes three times as long as to make an Event, and to have it convert
 * a dictionary takes ten times as long, which is more than all else that an event costs.
 */
export class StreamEvent extends Event {
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

  initMessageEvent(type, bubbles = false, cancelable = false, data = null, origin = '', lastEventId = '', source = null, ports = []) {
    if (this.eventPhase !== Event.NONE) return; // it is being dispatched
    const real = new MessageEvent(type, { data, origin, lastEventId, source, ports });
    this.initEvent(real.type, bubbles, cancelable);
    this.#data = real.data;
    this.#origin = real.origin;
    this.#lastEventId = real.lastEventId;
    reals.set(this, real);
  }

  static realOf(event) {
    if (!reals.has(event)) {
      reals.set(event, new MessageEvent(event.type, { data: event.#data, origin: event.#origin, lastEventId: event.#lastEventId }));
    }
    return reals.get(event);
  }
}

// It has all members of MessageEvent, in their order, and below them the prototype of MessageEvent.
function defineAsMessageEvent({ prototype, realOf }) {
  const own = Object.getOwnPropertyDescriptors(prototype);
  for (const name of Object.keys(own)) delete prototype[name];
  // In Deno some of them are properties of each event, and not of the prototype.
  const members = { ...Object.getOwnPropertyDescriptors(MessageEvent.prototype) };
  for (const name of Object.keys(own)) members[name] ??= own[name];
  for (const [name, member] of Object.entries(members)) {
    if (name !== 'constructor' && own[name]) Object.assign(member, own[name], { enumerable: true });
    else if (member.get) {
      const { get } = member;
      member.get = function () {
        return Reflect.apply(get, realOf(this), []);
      };
    }
    Object.defineProperty(prototype, name, member);
  }
  Object.setPrototypeOf(prototype, MessageEvent.prototype);
}

defineAsMessageEvent(StreamEvent);
