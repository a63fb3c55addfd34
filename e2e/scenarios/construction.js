// HTML Standard, 9.2.2 The EventSource interface: the constructor.

const standard = '9.2.2 the EventSource(url, eventSourceInitDict) constructor';

/** A URL that needs no document to be resolved against. */
const somewhere = 'http://a.example/x';

/** Constructs sources and closes each in the same task, so no request is made. */
function constructs(name, calls, expect, place = standard) {
  return {
    name,
    standard: place,
    run(t) {
      for (const [what, args] of Object.entries(calls)) {
        t.attempt(what, () => {
          const source = t.open(...args(t));
          source.close();
          return what.startsWith('withCredentials') ? source.withCredentials : decodeURI(source.url.split('?scenario')[0]);
        });
      }
    },
    expect,
  };
}

export default [
  {
    name: 'a new source has its URL, readyState CONNECTING and withCredentials false',
    standard,
    run(t) {
      const source = t.open(t.stream().url);
      t.note(source.url, source.withCredentials, source.readyState, source.CONNECTING, source.OPEN, source.CLOSED);
      t.note(source.onopen, source.onmessage, source.onerror);
      source.close();
      t.note(source.url, source.withCredentials, source.readyState);
    },
    expect: ['A false 0 0 1 2', 'null null null', 'A false 2'],
  },
  {
    name: 'the constructor requires new and a URL',
    standard: `${standard}; Web IDL`,
    run(t) {
      t.attempt('without new', () => t.EventSource('/x'));
      t.attempt('by call', () => t.EventSource.call({}, '/x'));
      t.attempt('without arguments', () => new t.EventSource());
    },
    expect: ['without new: throws TypeError', 'by call: throws TypeError', 'without arguments: throws TypeError'],
  },
  {
    name: "exceptions have the browser's messages",
    standard: 'none: pages see these messages in their error reports',
    run(t) {
      for (const f of [() => t.EventSource('/x'), () => new t.EventSource(), () => new t.EventSource('http://['), () => new t.EventSource('/x', 1), () => new t.EventSource(Symbol('x'))]) {
        try {
          f();
        } catch (error) {
          t.note(error.message);
        }
      }
    },
    expect: [
      "Failed to construct 'EventSource': Please use the 'new' operator, this DOM object constructor cannot be called as a function.",
      "Failed to construct 'EventSource': 1 argument required, but only 0 present.",
      "Failed to construct 'EventSource': Cannot open an EventSource to 'http://['. The URL is invalid.",
      "Failed to construct 'EventSource': The provided value is not of type 'EventSourceInit'.",
      "Failed to construct 'EventSource': Cannot convert a Symbol value to a string",
    ],
  },
  constructs(
    'a URL that cannot be parsed throws a SyntaxError',
    {
      'no host': () => ['http://'],
      'bad host': () => ['http://['],
      'bad port': () => ['http://a:99999999/'],
      'port that is a word': () => ['//a:b/'],
      'bad IPv4': () => ['http://1.2.3.4.5/'],
    },
    ['no host', 'bad host', 'bad port', 'port that is a word', 'bad IPv4'].map((what) => `${what}: throws SyntaxError DOMException 12`),
    `${standard}, step 4`,
  ),
  constructs(
    'a forbidden code point in the host throws a SyntaxError',
    Object.fromEntries(
      ['http://this is invalid/', 'https://a%20b/', 'ws://a b/', 'http://a%2fb/', 'http://a<b/', 'http://a^b/', 'http://a%7Fb/'].map((url) => [url, () => [url]]),
    ),
    ['http://this is invalid/', 'https://a%20b/', 'ws://a b/', 'http://a%2fb/', 'http://a<b/', 'http://a^b/', 'http://a%7Fb/'].map(
      (url) => `${url}: throws SyntaxError DOMException 12`,
    ),
    `${standard}, step 4; URL 3.5 host parsing: "If asciiDomain contains a forbidden domain code point, return failure"`,
  ),
  constructs(
    'code points forbidden in the host are allowed elsewhere in the URL',
    Object.fromEntries(['http://u%20v@b/', 'http://b/%20?%20', 'http://a!$b/', 'x://a%20b/'].map((url) => [url, () => [url]])),
    ['http://u%20v@b/: http://u v@b/', 'http://b/%20?%20: http://b/ ? ', 'http://a!$b/: http://a!$b/', 'x://a%20b/: x://a b/'],
    `${standard}, step 4; URL 3.5`,
  ),
  constructs(
    'the URL is resolved against the document',
    {
      relative: () => ['x'],
      parent: () => ['../x/./y'],
      absolute: () => ['/x'],
      'without scheme': () => ['//b.example/x'],
      'query only': () => ['?q'],
      'with a fragment': () => ['/x#f'],
      'spaces around it': () => [' \t/x\n '],
      'tab and newline in it': () => ['/a\tb\nc'],
      'other scheme': () => ['HTTPS://B.example:443/x'],
      backslashes: () => ['\\x\\y'],
      'percent-encodings': () => ['/%41%zz'],
    },
    [
      'relative: A/harness/x',
      'parent: A/x/y',
      'absolute: A/x',
      'without scheme: http://b.example/x',
      'query only: A/harness/run.html?q',
      'with a fragment: A/x#f',
      'spaces around it: A/x',
      'tab and newline in it: A/abc',
      'other scheme: https://b.example/x',
      'backslashes: A/x/y',
      'percent-encodings: throws URIError',
    ],
    `${standard}, step 3: encoding-parse a URL`,
  ),
  {
    name: "the empty URL resolves to the document's URL",
    standard: `${standard}, step 3: encoding-parse a URL`,
    run(t) {
      const source = t.open('');
      source.close();
      t.note(source.url === location.href);
    },
    expect: ['true'],
  },
  constructs(
    'the URL is converted to a string',
    {
      null: () => [null],
      undefined: () => [undefined],
      number: () => [1.5],
      boolean: () => [true],
      array: () => [['a', 'b']],
      object: () => [{ toString: () => '/o' }],
      'URL object': (t) => [new URL('/u', t.origins.B)],
      'string object': () => [new String('/s')],
      'lone surrogates': () => ['/a\ud800b\udc00'],
      symbol: () => [Symbol('x')],
      'object without string': () => [Object.create(null)],
      'object that throws': () => [{ toString() { throw new RangeError('no'); } }],
    },
    [
      'null: A/harness/null',
      'undefined: A/harness/undefined',
      'number: A/harness/1.5',
      'boolean: A/harness/true',
      'array: A/harness/a,b',
      'object: A/o',
      'URL object: B/u',
      'string object: A/s',
      'lone surrogates: A/a�b�',
      'symbol: throws TypeError',
      'object without string: throws TypeError',
      'object that throws: throws RangeError',
    ],
    `${standard}: USVString url`,
  ),
  constructs(
    'the second argument may be an object, null or undefined',
    {
      'withCredentials by default': () => [somewhere],
      'withCredentials of undefined': () => [somewhere, undefined],
      'withCredentials of null': () => [somewhere, null],
      'withCredentials of {}': () => [somewhere, {}],
      'withCredentials of a function': () => [somewhere, () => {}],
      'withCredentials of an array': () => [somewhere, []],
      'withCredentials of a number': () => [somewhere, 1],
      'withCredentials of a string': () => [somewhere, 'x'],
      'withCredentials of a boolean': () => [somewhere, true],
      'withCredentials of a symbol': () => [somewhere, Symbol('x')],
      'withCredentials of a bigint': () => [somewhere, 1n],
    },
    [
      'withCredentials by default: false',
      'withCredentials of undefined: false',
      'withCredentials of null: false',
      'withCredentials of {}: false',
      'withCredentials of a function: false',
      'withCredentials of an array: false',
      'withCredentials of a number: throws TypeError',
      'withCredentials of a string: throws TypeError',
      'withCredentials of a boolean: throws TypeError',
      'withCredentials of a symbol: throws TypeError',
      'withCredentials of a bigint: throws TypeError',
    ],
    `${standard}: EventSourceInit; Web IDL`,
  ),
  constructs(
    'withCredentials is converted to a boolean',
    Object.fromEntries(
      [true, false, 1, 0, 'false', '', null, undefined, {}, Symbol.iterator, 0n, NaN].map((value) => [
        `withCredentials ${typeof value} ${String(value)}`,
        () => [somewhere, { withCredentials: value }],
      ]),
    ),
    [
      'withCredentials boolean true: true',
      'withCredentials boolean false: false',
      'withCredentials number 1: true',
      'withCredentials number 0: false',
      'withCredentials string false: true',
      'withCredentials string : false',
      'withCredentials object null: false',
      'withCredentials undefined undefined: false',
      'withCredentials object [object Object]: true',
      'withCredentials symbol Symbol(Symbol.iterator): true',
      'withCredentials bigint 0: false',
      'withCredentials number NaN: false',
    ],
    `${standard}: EventSourceInit; Web IDL`,
  ),
  constructs(
    'withCredentials may be inherited, and its getter may throw',
    {
      'withCredentials inherited': () => [somewhere, Object.create({ withCredentials: true })],
      'withCredentials of a getter': () => [somewhere, { get withCredentials() { return true; } }],
      'withCredentials that throws': () => [somewhere, { get withCredentials() { throw new RangeError('no'); } }],
    },
    ['withCredentials inherited: true', 'withCredentials of a getter: true', 'withCredentials that throws: throws RangeError'],
    `${standard}: EventSourceInit; Web IDL`,
  ),
  {
    name: 'arguments are converted in order, before the URL is parsed',
    standard: `${standard}; Web IDL`,
    run(t) {
      const url = { toString() { t.note('url'); return 'http://['; } };
      const init = { get withCredentials() { t.note('withCredentials'); return true; } };
      t.attempt('construct', () => new t.EventSource(url, init));
    },
    expect: ['url', 'withCredentials', 'construct: throws SyntaxError DOMException 12'],
  },
  {
    name: 'no event fires before the task of the constructor ends',
    standard: `${standard}, step 15: in parallel`,
    async run(t) {
      const server = t.stream();
      const source = t.open(server.url);
      t.note('task', source.readyState);
      await null;
      t.note('microtask', source.readyState);
      await server.accept();
      await t.until(source, 'open');
      t.note('after open', source.readyState);
    },
    expect: ['task 0', 'microtask 0', 'GET A', 'open', 'after open 1'],
  },
  {
    name: 'a relative URL is resolved against the base element',
    standard: `${standard}, step 3: encoding-parse a URL`,
    async run(t) {
      const { contentWindow } = await t.frame(`<base href="${t.origins.B}/base/">`);
      const EventSource = await t.in(contentWindow);
      const source = t.watch(new EventSource('x'));
      source.close();
      t.note(source.url);
    },
    expect: ['B/base/x'],
  },
  {
    name: "the query is encoded in the document's encoding",
    standard: `${standard}, step 3: encoding-parse a URL`,
    async run(t) {
      const { contentWindow } = await t.frame('<p>', { type: 'text/html; charset=windows-1252' });
      const EventSource = await t.in(contentWindow);
      const source = t.watch(new EventSource('/é✓?é✓#é✓'));
      source.close();
      t.note(source.url);
    },
    expect: ['A/%C3%A9%E2%9C%93?%E9%26%2310003%3B#%C3%A9%E2%9C%93'],
  },
];
