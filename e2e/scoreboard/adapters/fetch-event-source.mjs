import { EventStreamContentType, fetchEventSource } from '@microsoft/fetch-event-source';

class Fatal extends Error {}

// The library is a function, and this class adapts it. The board measures only what the library decides.
export class EventSource extends EventTarget {
  readyState = 0;
  #controller = new AbortController();
  #lastEventId = '';

  constructor(url, { withCredentials = false } = {}) {
    super();
    fetchEventSource(new URL(url, document.baseURI).href, {
      signal: this.#controller.signal,
      credentials: withCredentials ? 'include' : 'same-origin',
      openWhenHidden: true,
      onopen: async (response) => {
        if (response.status !== 200 || !response.headers.get('Content-Type')?.startsWith(EventStreamContentType)) throw new Fatal();
        this.origin = new URL(response.url).origin;
        this.#dispatch(1, new Event('open'));
      },
      onmessage: ({ id, event, data }) => {
        if (id) this.#lastEventId = id;
        if (data === '') return; // the library does not distinguish empty data from no data
        this.#dispatch(1, new MessageEvent(event || 'message', { data, origin: this.origin, lastEventId: this.#lastEventId }));
      },
      onclose: () => { throw new Error('the stream has ended: reconnect'); },
      onerror: (error) => {
        this.#dispatch(error instanceof Fatal ? 2 : 0, new Event('error'));
        if (this.readyState === 2) throw error; // ends the library's retries
      },
    }).catch(() => {});
  }

  close() {
    this.readyState = 2;
    this.#controller.abort();
  }

  #dispatch(readyState, event) {
    if (this.readyState === 2) return;
    this.readyState = readyState;
    this.dispatchEvent(event);
    this[`on${event.type}`]?.(event);
  }
}
