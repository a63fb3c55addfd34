// HTML Standard, 9.2.2 The EventSource interface, as Web IDL defines it in JavaScript.

const standard = '9.2.2 interface EventSource; Web IDL';

/** A scenario about the class. It makes no request. */
function observes(name, run, expect) {
  return { name, standard, run, expect };
}

function describe({ value, get, set, writable, enumerable, configurable }) {
  const flags = [writable && 'writable', enumerable && 'enumerable', configurable && 'configurable'].filter(Boolean);
  const what = get || set ? [get && `get ${signature(get)}`, set && `set ${signature(set)}`].filter(Boolean).join(', ') : show(value);
  return [what, ...flags].join(' ');
}

const signature = (f) => `'${f.name}'/${f.length}`;
const show = (value) => (typeof value === 'function' ? `function ${signature(value)}` : JSON.stringify(value));

function forIn(object) {
  const names = [];
  for (const name in object) names.push(name);
  return names;
}

const attributes = ['url', 'withCredentials', 'readyState'];
const handlers = ['onopen', 'onmessage', 'onerror'];

export default [
  observes(
    'the interface object has the properties of the interface, in order',
    (t) => {
      for (const name of Reflect.ownKeys(t.EventSource)) {
        if (name === 'prototype') t.note('prototype', describe({ ...Object.getOwnPropertyDescriptor(t.EventSource, name), value: 'it' }));
        else t.note(name, describe(Object.getOwnPropertyDescriptor(t.EventSource, name)));
      }
    },
    [
      'length 1 configurable',
      'name "EventSource" configurable',
      'prototype "it"',
      'CONNECTING 0 enumerable',
      'OPEN 1 enumerable',
      'CLOSED 2 enumerable',
    ],
  ),
  observes(
    'the prototype has the members of the interface, in order',
    (t) => {
      const prototype = t.EventSource.prototype;
      for (const name of Reflect.ownKeys(prototype)) {
        t.note(String(name), describe(Object.getOwnPropertyDescriptor(prototype, name)));
      }
    },
    [
      "url get 'get url'/0 enumerable configurable",
      "withCredentials get 'get withCredentials'/0 enumerable configurable",
      "readyState get 'get readyState'/0 enumerable configurable",
      "onopen get 'get onopen'/0, set 'set onopen'/1 enumerable configurable",
      "onmessage get 'get onmessage'/0, set 'set onmessage'/1 enumerable configurable",
      "onerror get 'get onerror'/0, set 'set onerror'/1 enumerable configurable",
      'CONNECTING 0 enumerable',
      'OPEN 1 enumerable',
      'CLOSED 2 enumerable',
      "close function 'close'/0 writable enumerable configurable",
      "constructor function 'EventSource'/1 writable configurable",
      'Symbol(Symbol.toStringTag) "EventSource" configurable',
    ],
  ),
  observes(
    'EventSource inherits from EventTarget',
    (t) => {
      t.note('interface', Object.getPrototypeOf(t.EventSource) === EventTarget);
      t.note('prototype', Object.getPrototypeOf(t.EventSource.prototype) === EventTarget.prototype);
      t.note('constructor', t.EventSource.prototype.constructor === t.EventSource);
    },
    ['interface true', 'prototype true', 'constructor true'],
  ),
  observes(
    'the class is a function, and its prototype has the tag EventSource',
    (t) => {
      t.note(Object.prototype.toString.call(t.EventSource), typeof t.EventSource);
      t.note(Object.prototype.toString.call(t.EventSource.prototype));
    },
    ['[object Function] function', '[object EventSource]'],
  ),
  observes(
    'constants cannot be changed',
    (t) => {
      t.attempt('assign OPEN', () => ((() => { 'use strict'; t.EventSource.OPEN = 5; })()));
      t.attempt('assign OPEN of the prototype', () => ((() => { 'use strict'; t.EventSource.prototype.OPEN = 5; })()));
      t.attempt('delete CLOSED', () => ((() => { 'use strict'; delete t.EventSource.CLOSED; })()));
      t.note(t.EventSource.CONNECTING, t.EventSource.OPEN, t.EventSource.CLOSED);
    },
    ['assign OPEN: throws TypeError', 'assign OPEN of the prototype: throws TypeError', 'delete CLOSED: throws TypeError', '0 1 2'],
  ),
  observes(
    'attribute getters throw on an object that is not an EventSource',
    (t) => {
      for (const name of [...attributes, ...handlers]) {
        const { get } = Object.getOwnPropertyDescriptor(t.EventSource.prototype, name);
        for (const [what, receiver] of [['prototype', t.EventSource.prototype], ['EventTarget', new EventTarget()]]) {
          t.attempt(`${name} of ${what}`, () => get.call(receiver));
        }
      }
    },
    [...attributes, ...handlers].flatMap((name) => [
      `${name} of prototype: throws TypeError`,
      `${name} of EventTarget: throws TypeError`,
    ]),
  ),
  observes(
    'close() and handler setters throw on an object that is not an EventSource',
    (t) => {
      const { close } = t.EventSource.prototype;
      for (const receiver of [undefined, null, {}, Object.create(t.EventSource.prototype)]) {
        t.attempt('close', () => close.call(receiver));
      }
      for (const name of handlers) {
        const { set } = Object.getOwnPropertyDescriptor(t.EventSource.prototype, name);
        t.attempt(`set ${name}`, () => set.call({}, null));
      }
    },
    [
      ...Array(4).fill('close: throws TypeError'),
      ...handlers.map((name) => `set ${name}: throws TypeError`),
    ],
  ),
  observes(
    'readonly attributes cannot be assigned',
    (t) => {
      const source = t.open(`${t.origins.A}/stream/none`);
      source.close();
      for (const name of attributes) {
        t.attempt(name, () => { 'use strict'; source[name] = 'x'; });
      }
      t.note(source.readyState, source.withCredentials);
    },
    [...attributes.map((name) => `${name}: throws TypeError`), '2 false'],
  ),
  observes(
    'a source has no own properties',
    (t) => {
      const source = t.open(`${t.origins.A}/stream/none`);
      source.close();
      t.note('own keys', Reflect.ownKeys(source));
      const names = forIn(source);
      const inherited = forIn(new EventTarget()).join();
      t.note('for in', names.slice(0, 10), names.slice(10).join() === inherited);
      t.note(JSON.stringify(source), String(source), Object.prototype.toString.call(source));
      source.extra = 1;
      t.note('extensible', Reflect.ownKeys(source));
    },
    [
      'own keys []',
      'for in ["url","withCredentials","readyState","onopen","onmessage","onerror","CONNECTING","OPEN","CLOSED","close"] true',
      '{} [object EventSource] [object EventSource]',
      'extensible ["extra"]',
    ],
  ),
  observes(
    'a source cannot be cloned',
    (t) => {
      const source = t.open(`${t.origins.A}/stream/none`);
      source.close();
      t.attempt('structuredClone', () => structuredClone(source));
      t.attempt('postMessage', () => new MessageChannel().port1.postMessage(source));
    },
    ['structuredClone: throws DataCloneError DOMException 25', 'postMessage: throws DataCloneError DOMException 25'],
  ),
  observes(
    'handler attributes keep functions and objects, and turn other values into null',
    (t) => {
      const source = t.open(`${t.origins.A}/stream/none`);
      source.close();
      const object = { handleEvent() {} };
      const f = () => {};
      for (const name of handlers) {
        t.note(name, source[name]);
        for (const value of [f, object, [], 1, 'f()', true, Symbol.iterator, 1n, undefined, null]) {
          source[name] = value;
          t.note(typeof value, source[name] === value ? 'is kept' : source[name]);
        }
      }
    },
    handlers.flatMap((name) => [
      `${name} null`,
      'function is kept',
      'object is kept',
      'object is kept',
      'number null',
      'string null',
      'boolean null',
      'symbol null',
      'bigint null',
      'undefined null',
      'object is kept',
    ]),
  ),
  {
    name: 'a subclass can be constructed and receives messages',
    standard: '9.2.2 the EventSource(url, eventSourceInitDict) constructor; Web IDL',
    async run(t) {
      const server = t.stream();
      class Sub extends t.EventSource {
        constructor(url) {
          super(url, { withCredentials: true });
          this.own = 1;
        }
        get url() {
          return `sub ${super.url}`;
        }
      }
      const source = t.watch(new Sub(server.url));
      t.note(source instanceof Sub, source instanceof t.EventSource, Reflect.ownKeys(source), source.url, source.withCredentials);
      const connection = await server.accept();
      await connection.send('data: x\n\n');
      await t.until(source, 'message');
    },
    expect: ['true true ["own"] sub A true', 'GET A', 'open', 'message "x"'],
  },
  observes(
    'Reflect.construct() uses the prototype of newTarget',
    (t) => {
      class Other {}
      const source = Reflect.construct(t.EventSource, [`${t.origins.A}/stream/none`], Other);
      t.EventSource.prototype.close.call(source);
      t.note(source instanceof Other, source instanceof t.EventSource, source instanceof EventTarget);
      t.note(Object.getOwnPropertyDescriptor(t.EventSource.prototype, 'readyState').get.call(source));
    },
    ['true false false', '2'],
  ),
  observes(
    'an object that inherits from or proxies a source is not a source',
    (t) => {
      const source = t.open(`${t.origins.A}/stream/none`);
      source.close();
      t.attempt('an heir', () => Object.create(source).readyState);
      t.attempt('a proxy', () => new Proxy(source, {}).readyState);
      t.attempt('a proxy of the class', () => {
        const Wrapped = new Proxy(t.EventSource, {});
        const wrapped = t.watch(new Wrapped(`${t.origins.A}/stream/none`));
        wrapped.close();
        return wrapped.readyState;
      });
    },
    ['an heir: throws TypeError', 'a proxy: throws TypeError', 'a proxy of the class: 2'],
  ),
  observes(
    'prototype members can be replaced and restored',
    (t) => {
      const { prototype } = t.EventSource;
      const close = Object.getOwnPropertyDescriptor(prototype, 'close');
      const source = t.open(`${t.origins.A}/stream/none`);
      source.close();
      prototype.close = () => 'replaced';
      t.note(source.close());
      Object.defineProperty(prototype, 'close', close);
      t.note(source.close());
    },
    ['replaced', 'undefined'],
  ),
  observes(
    'handlers cannot be read or set on the prototype',
    (t) => {
      for (const name of handlers) {
        t.attempt(name, () => t.EventSource.prototype[name]);
        t.attempt(`set ${name}`, () => { 'use strict'; t.EventSource.prototype[name] = () => {}; });
      }
    },
    handlers.flatMap((name) => [`${name}: throws TypeError`, `set ${name}: throws TypeError`]),
  ),
  observes(
    'methods and getters of the class are not constructors',
    (t) => {
      const { prototype } = t.EventSource;
      t.note(Object.getPrototypeOf(prototype) === EventTarget.prototype, Object.isExtensible(t.EventSource), Object.isFrozen(prototype));
      t.attempt('new close', () => new prototype.close());
      t.attempt('new getter', () => new (Object.getOwnPropertyDescriptor(prototype, 'url').get)());
      t.note('prototype' in prototype.close, 'caller' in prototype.close && Object.hasOwn(prototype.close, 'caller'));
    },
    ['true true false', 'new close: throws TypeError', 'new getter: throws TypeError', 'false false'],
  ),
  observes(
    'dispatchEvent() calls the listeners of a closed source and changes no state',
    (t) => {
      const source = t.open(`${t.origins.A}/stream/none`);
      source.close();
      source.dispatchEvent(new Event('open'));
      source.dispatchEvent(new MessageEvent('message', { data: 'x', origin: t.origins.A }));
      source.dispatchEvent(new Event('error'));
    },
    ['open CLOSED', 'message "x" CLOSED', 'error CLOSED'],
  ),
];
