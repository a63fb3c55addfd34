// DOM event dispatch and HTML event handlers, tested with the events of a source.

const handlers = 'HTML 8.1.8.1 Event handlers';
const dispatch = 'DOM 2.9 Dispatching events';

/** Adds listeners to a source and sends it the stream. Only the listeners write to the trace. */
function listens(name, listen, expect, { stream = 'data: x\n\n', standard = dispatch } = {}) {
  return {
    name,
    standard,
    async run(t) {
      const server = t.stream('A', '', { record: false });
      const source = new t.EventSource(server.url);
      listen(t, source);
      // Added after the scenario's listeners, whose microtasks run before this one.
      const last = new Promise((resolve) => source.addEventListener('last', resolve));
      const connection = await server.accept();
      await connection.send(`${stream}event: last\ndata\n\n`);
      await t.waiting('the last event', last);
      source.close();
    },
    expect,
  };
}

const flags = ['bubbles', 'cancelable', 'composed', 'defaultPrevented', 'returnValue', 'cancelBubble'];

export default [
  listens('listeners and the handler are called in registration order', (t, source) => {
    source.addEventListener('message', () => t.note('first'));
    source.onmessage = () => t.note('handler');
    source.addEventListener('message', () => t.note('second'));
  }, ['first', 'handler', 'second'], { standard: handlers }),
  listens('a replaced handler keeps its place', (t, source) => {
    source.onmessage = () => t.note('old');
    source.addEventListener('message', () => t.note('listener'));
    source.onmessage = () => t.note('new');
  }, ['new', 'listener'], { standard: handlers }),
  listens('a handler set again after null takes the last place', (t, source) => {
    source.onmessage = () => t.note('old');
    source.addEventListener('message', () => t.note('listener'));
    source.onmessage = null;
    source.onmessage = () => t.note('new');
  }, ['listener', 'new'], { standard: handlers }),
  listens('a handler set to null is not called', (t, source) => {
    source.onmessage = () => t.note('handler');
    source.onmessage = null;
    source.addEventListener('message', () => t.note('listener'));
  }, ['listener'], { standard: handlers }),
  listens('a handler replaced by a non-object is not called', (t, source) => {
    source.onmessage = () => t.note('handler');
    source.onmessage = 'x';
    source.addEventListener('message', () => t.note('listener', source.onmessage));
  }, ['listener null'], { standard: handlers }),
  listens('an object set as a handler keeps its place but is not called', (t, source) => {
    source.onmessage = { handleEvent: () => t.note('never') };
    source.addEventListener('message', () => t.note('listener'));
    source.addEventListener('message', () => (source.onmessage = () => t.note('handler')), { once: true });
  }, ['listener', 'handler', 'listener'], { stream: 'data: 1\n\ndata: 2\n\n', standard: handlers }),
  listens('an object added as a listener has its handleEvent() called', (t, source) => {
    const object = {
      handleEvent(event) {
        t.note(this === object, event.data);
      },
    };
    source.addEventListener('message', object);
  }, ['true x']),
  listens('a handler is called only for its own event', (t, source) => {
    source.onmessage = () => t.note('message');
    source.onopen = () => t.note('open');
    source.onerror = () => t.note('error');
    source.onlast = () => t.note('there is no such handler');
  }, ['open', 'message'], { standard: handlers }),
  listens('onopen and onerror are called for streamed events of these types', (t, source) => {
    source.onopen = (event) => t.note('open', event.data);
    source.onerror = (...args) => t.note('error', args.length, args[0].data);
  }, ['open undefined', 'open x', 'error 1 y'], { stream: 'event: open\ndata: x\n\nevent: error\ndata: y\n\n', standard: handlers }),
  listens('listeners and handlers are called with the source as this', (t, source) => {
    source.addEventListener('message', function () { t.note(this === source); });
    source.onmessage = function () { t.note(this === source); };
  }, ['true', 'true']),
  listens('the return value of a handler is ignored', (t, source) => {
    source.onmessage = () => false;
    source.addEventListener('message', (event) => t.note(event.defaultPrevented, event.returnValue));
  }, ['false true'], { standard: handlers }),
  listens('an exception in a listener is reported, and the other listeners are called', (t, source) => {
    source.addEventListener('message', () => { throw new Error('in a listener'); });
    source.onmessage = () => { throw new Error('in the handler'); };
    source.addEventListener('message', () => t.note('the last listener', source.readyState));
  }, [
    'uncaught Error: in a listener',
    'uncaught Error: in the handler',
    'the last listener 1',
    'uncaught Error: in a listener',
    'uncaught Error: in the handler',
    'the last listener 1',
  ], { stream: 'data: 1\n\ndata: 2\n\n' }),
  listens('exceptions in open and message handlers do not stop the stream', (t, source) => {
    source.onopen = () => { throw new Error('in onopen'); };
    source.onmessage = ({ data }) => { throw new Error(data); };
  }, ['uncaught Error: in onopen', 'uncaught Error: 1', 'uncaught Error: 2'], {
    stream: 'data: 1\n\ndata: 2\n\n',
  }),
  listens('a listener added with once is called once', (t, source) => {
    source.addEventListener('message', ({ data }) => t.note(data), { once: true });
  }, ['1'], { stream: 'data: 1\n\ndata: 2\n\n' }),
  listens('a listener removed during an event is not called for it', (t, source) => {
    const second = () => t.note('second');
    source.addEventListener('message', () => { t.note('first'); source.removeEventListener('message', second); });
    source.addEventListener('message', second);
  }, ['first', 'first'], { stream: 'data: 1\n\ndata: 2\n\n' }),
  listens('a listener added during an event is first called for the next one', (t, source) => {
    source.addEventListener('message', () => source.addEventListener('message', ({ data }) => t.note(data)), { once: true });
  }, ['2'], { stream: 'data: 1\n\ndata: 2\n\n' }),
  listens('a listener added twice is called once, unless capture differs', (t, source) => {
    const listener = () => t.note('called');
    for (const capture of [false, false, true]) source.addEventListener('message', listener, capture);
  }, ['called', 'called']),
  listens('capturing listeners are called first at the target', (t, source) => {
    source.addEventListener('message', () => t.note('bubbling'));
    source.addEventListener('message', () => t.note('capturing'), true);
  }, ['capturing', 'bubbling']),
  listens('aborting its signal removes the listener', (t, source) => {
    const controller = new AbortController();
    source.addEventListener('message', ({ data }) => { t.note(data); controller.abort(); }, { signal: controller.signal });
  }, ['1'], { stream: 'data: 1\n\ndata: 2\n\n' }),
  listens('stopImmediatePropagation() stops the remaining listeners', (t, source) => {
    source.addEventListener('message', (event) => { t.note('first'); event.stopImmediatePropagation(); });
    source.onmessage = () => t.note('never');
  }, ['first']),

  listens('all listeners get the same event object, and each message has its own', (t, source) => {
    const events = new Set();
    source.onmessage = (event) => events.add(event);
    source.addEventListener('message', (event) => t.note(events.has(event), events.size));
  }, ['true 1', 'true 2'], { stream: 'data: 1\n\ndata: 2\n\n' }),
  listens('message is a MessageEvent that neither bubbles nor can be canceled', (t, source) => {
    source.onmessage = (event) => {
      t.note(Object.prototype.toString.call(event), event instanceof MessageEvent, event.constructor === MessageEvent);
      for (const flag of flags) t.note(flag, event[flag]);
      event.preventDefault();
      t.note('after preventDefault', event.defaultPrevented);
      t.note('source', event.source);
      t.note('ports', Array.isArray(event.ports), event.ports, Object.isFrozen(event.ports), event.ports === event.ports);
      t.note('own', Reflect.ownKeys(event).filter((key) => key !== 'isTrusted'));
    };
  }, [
    '[object MessageEvent] true true',
    'bubbles false',
    'cancelable false',
    'composed false',
    'defaultPrevented false',
    'returnValue true',
    'cancelBubble false',
    'after preventDefault false',
    'source null',
    'ports true [] true true',
    'own []',
  ], { standard: '9.2.6 dispatch the event, step 5' }),
  listens('open is an Event that neither bubbles nor can be canceled', (t, source) => {
    source.onopen = (event) => {
      t.note(Object.prototype.toString.call(event), event.constructor === Event);
      for (const flag of flags) t.note(flag, event[flag]);
      t.note('target', event.target === source);
    };
  }, [
    '[object Event] true',
    'bubbles false',
    'cancelable false',
    'composed false',
    'defaultPrevented false',
    'returnValue true',
    'cancelBubble false',
    'target true',
  ], { standard: '9.2.3 announce the connection' }),
  {
    name: 'error is an Event that neither bubbles nor can be canceled',
    standard: '9.2.3 reestablish the connection, step 1; DOM fire an event',
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      source.onerror = (event) => {
        source.close();
        t.note(Object.prototype.toString.call(event), event.constructor === Event, event.target === source);
        for (const flag of flags) t.note(flag, event[flag]);
      };
      await (await server.accept()).end();
      await t.until(source, 'error');
    },
    expect: [
      'GET A',
      'open',
      'error CONNECTING',
      '[object Event] true true',
      'bubbles false',
      'cancelable false',
      'composed false',
      'defaultPrevented false',
      'returnValue true',
      'cancelBubble false',
    ],
  },
  listens('target is set during and after dispatch, currentTarget only during it', (t, source) => {
    let kept;
    source.addEventListener('message', (event) => {
      kept = event;
      t.note(event.target === source, event.currentTarget === source, event.srcElement === source, event.eventPhase);
      t.note(event.composedPath().map((target) => target === source));
    });
    source.addEventListener('last', () => {
      t.note(kept.target === source, kept.currentTarget, kept.eventPhase, kept.composedPath());
    });
  }, ['true true true 2', '[true]', 'true null 0 []']),
  listens('timeStamp is the time of the event', (t, source) => {
    const before = performance.now();
    source.onmessage = ({ timeStamp }) => t.note(before <= timeStamp && timeStamp <= performance.now());
  }, ['true']),
  listens('open and message events are trusted', (t, source) => {
    source.onopen = ({ type, isTrusted }) => t.note(type, 'trusted', isTrusted);
    source.onmessage = ({ type, isTrusted }) => t.note(type, 'trusted', isTrusted);
  }, ['open trusted true', 'message trusted true'], { standard: 'DOM fire an event: isTrusted' }),
  listens('microtasks run after each listener', (t, source) => {
    for (const name of ['first', 'second']) {
      source.addEventListener('message', ({ data }) => {
        t.note(data, name);
        Promise.resolve().then(() => t.note(data, name, 'microtask'));
      });
    }
  }, [
    '1 first',
    '1 first microtask',
    '1 second',
    '1 second microtask',
    '2 first',
    '2 first microtask',
    '2 second',
    '2 second microtask',
  ], {
    stream: 'data: 1\n\ndata: 2\n\n',
    standard: 'HTML clean up after running script: a microtask checkpoint when the stack is empty',
  }),
  listens('microtasks of one event run before the next event', (t, source) => {
    source.addEventListener('message', ({ data }) => {
      t.note(data);
      Promise.resolve().then(() => t.note(data, 'microtask')).then(() => t.note(data, 'microtask of a microtask'));
    });
  }, ['1', '1 microtask', '1 microtask of a microtask', '2', '2 microtask', '2 microtask of a microtask'], {
    stream: 'data: 1\n\ndata: 2\n\n',
    standard: 'HTML event loop: a microtask checkpoint after each task',
  }),
  listens('a message has the members of MessageEvent in order, and only isTrusted as its own', (t, source) => {
    source.onmessage = (event) => {
      const members = (object) => {
        const names = [];
        for (const name in object) names.push(name);
        return names.join(' ');
      };
      t.note(Reflect.ownKeys(event), members(event) === members(new MessageEvent('message')));
      t.note(JSON.stringify(new MessageEvent('copy', event).data), 'data' in event, Object.keys(event));
    };
  }, ['["isTrusted"] true', '"x" true ["isTrusted"]'], { standard: 'HTML 9.1 The MessageEvent interface' }),
  listens('initMessageEvent() changes a message after its dispatch, not during it', (t, source) => {
    source.onmessage = (event) => {
      event.initMessageEvent('never', true, true, 'while it is dispatched');
      t.note(event.type, event.bubbles, event.data, event.ports.length);
      setTimeout(() => {
        const { port1 } = new MessageChannel();
        event.initMessageEvent('later', true, false, 7, 'http://a.example', 'id', port1, [port1]);
        t.note(event.type, event.bubbles, event.data, event.origin, event.lastEventId);
        t.note(event.source === port1, event.ports[0] === port1, event.ports.length);
        source.dispatchEvent(new MessageEvent('last'));
      });
    };
  }, ['message false x 0', 'later true 7 http://a.example id', 'true true 1'], { stream: 'data: x\n\nevent: ', standard: 'HTML 9.1 initMessageEvent()' }),
  listens('the prototype of a message is MessageEvent.prototype', (t, source) => {
    source.onmessage = (event) => t.note(Object.getPrototypeOf(event) === MessageEvent.prototype);
  }, ['true'], { standard: 'HTML 9.1 The MessageEvent interface' }),
  listens('readyState is OPEN in every open listener', (t, source) => {
    source.addEventListener('open', () => t.note(source.readyState));
    source.onopen = () => t.note(source.readyState);
  }, ['1', '1'], { standard: '9.2.3 announce the connection' }),
];
