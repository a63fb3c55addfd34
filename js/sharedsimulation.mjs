// The simulation for TestSharedStreams in js/shared_test.go: nodes that share a stream, a network that delays and repeats
// messages, locks, and a server, all driven by one seed. Nodes are killed and frozen, pages leave, and connections break.
//   node js/sharedsimulation.mjs FIRST COUNT [trace]
// prints nothing if every client receives every event once and in order, from the shared stream or its own connection.

import { costOf } from './lag.js';
import { Log } from './sharedlog.js';
import { messageOf } from './sharedmessages.js';
import { Client, SharedStream, TICK } from './sharedstream.js';

const [OPEN, CLOSED] = [1, 2];

class Random {
  constructor(seed) {
    this.state = Math.imul(seed + 1, 2654435761) | 1;
  }

  /** Returns an integer in [0, n). */
  below(n) {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % n;
  }

  chance(percent) {
    return this.below(100) < percent;
  }

  pick(list) {
    return list[this.below(list.length)];
  }
}

/** The simulated clock. It runs tasks in the order of their time. */
class Clock {
  now = 1000;
  #tasks = [];
  #order = 0;

  after(delay, f) {
    this.#tasks.push({ at: this.now + delay, order: this.#order++, f });
  }

  run(until) {
    for (;;) {
      let next;
      for (const task of this.#tasks) if (!next || task.at < next.at || (task.at === next.at && task.order < next.order)) next = task;
      if (!next || next.at > until) break;
      this.#tasks.splice(this.#tasks.indexOf(next), 1);
      this.now = Math.max(this.now, next.at);
      next.f();
    }
    this.now = until;
  }
}

/** Simulates navigator.locks with one lock. */
class Locks {
  holder;
  queue = [];

  constructor(world) {
    this.world = world;
  }

  request(node) {
    if (!this.queue.includes(node)) this.queue.push(node);
    this.#grant();
  }

  steal(node) {
    const { holder } = this;
    this.drop(node);
    this.holder = node;
    if (holder && holder !== node) holder.later(() => holder.stream.stolen());
    node.later(() => this.holder === node && node.stream.granted());
  }

  drop(node) {
    this.queue = this.queue.filter((each) => each !== node);
    if (this.holder === node) this.holder = undefined;
    this.#grant();
  }

  #grant() {
    if (this.holder || this.queue.length === 0) return;
    const node = (this.holder = this.queue.shift());
    node.later(() => this.holder === node && node.stream.granted());
  }
}

/** Publishes events with the IDs 1, 2, 3 …. The data of an event contains its ID. */
class Server {
  last = 0;
  gone = false;
  connections = new Set();

  publish() {
    this.last++;
    for (const connection of this.connections) connection.wake();
  }
}

/** A connection to the server. Like js/connection.js, it reconnects by itself. */
class Connection {
  ended = false;
  open = false;

  constructor(world, node, lastEventId, deliver) {
    Object.assign(this, { world, node, deliver, lastEventId, sent: Number(lastEventId || world.server.last) });
    this.#connect();
  }

  #connect() {
    this.world.clock.after(1 + this.world.random.below(30), () => {
      if (this.ended) return;
      const { server } = this.world;
      if (server.gone) {
        this.end();
        this.#report({ fire: 'error', details: {}, readyState: CLOSED });
        return;
      }
      this.open = true;
      server.connections.add(this);
      this.#report({ fire: 'open', details: {}, readyState: OPEN });
      this.wake();
    });
  }

  /** Reads the published events, in batches. */
  wake() {
    if (!this.open || this.reading) return;
    this.reading = true;
    this.world.clock.after(this.world.random.below(5), () => {
      this.reading = false;
      const { server, random } = this.world;
      if (!this.open || this.sent === server.last) return;
      const count = 1 + random.below(Math.min(4, server.last - this.sent));
      this.#report({ batch: batchOf(this.sent + 1, count, random), origin: 'http://a.example' });
      this.sent += count;
      this.wake();
    });
  }

  break() {
    if (!this.open) return;
    this.open = false;
    this.world.server.connections.delete(this);
    this.#report({ fire: 'error', details: {}, readyState: 0 });
    this.node?.later(() => this.#connect()) ?? this.#connect();
  }

  end() {
    this.ended = true;
    this.open = false;
    this.world.server.connections.delete(this);
  }

  /** A frozen node gets the report later. */
  #report(entry) {
    const report = () => this.ended && entry.readyState !== CLOSED ? undefined : this.deliver({ ...entry, reconnectionTime: 3000 });
    if (this.node) this.node.later(report, 0);
    else report();
  }
}

/** Returns a batch of events with their IDs as data. Some have a type, and some follow a comment. */
function batchOf(first, count, random) {
  let text = '';
  const table = [];
  for (let id = first; id < first + count; id++) {
    if (random.chance(10)) {
      text += 'comment';
      table.push(-1, text.length, -1);
    }
    if (random.chance(30)) text += 'type';
    table.push(text.length);
    text += `data ${id}`;
    table.push(text.length);
    text += id;
    table.push(text.length);
  }
  return { text, table: [...table, -1] };
}

/** The page's side of a source. It checks the events that it receives. */
class Page {
  readyState = 0;
  received = 0;
  closed = false;
  #queue = [];

  constructor(world, node, { lastEventId = '' } = {}) {
    Object.assign(this, { world, lastEventId });
    this.last = Number(lastEventId);
    this.join(node);
  }

  join(node) {
    this.node = node;
    const { lastEventId, readyState, at } = this;
    const client = (this.client = new Client({ lastEventId, readyState, at }));
    client.send = (message) => this.client === client && this.#receive(message, client);
    client.lost = () => this.client === client && this.#queue.push({ lost: true }) && this.#drain();
    node.pages.add(this);
    node.stream.add(client);
  }

  /** Whether it still waits for a shared stream. */
  get isLeft() {
    return this.client !== undefined && !this.closed && this.#queue.length === 0;
  }

  #receive(message, client) {
    this.#queue.push(message);
    if (!this.slow) this.#drain();
    else this.world.clock.after(this.slow, () => this.client === client && this.#drain());
  }

  #drain() {
    for (let message; (message = this.#queue.shift()); ) this.#handle(message);
  }

  #handle({ batch, fire, readyState, at, lost }) {
    if (this.closed) return;
    if (lost) {
      this.goAlone();
      return;
    }
    if (at) this.at = at;
    if (batch) this.#read(batch);
    if (fire === 'open' && this.readyState === OPEN) this.world.fail(`${this.name}: open while it is open`);
    if (fire) this.readyState = readyState;
    if (readyState === CLOSED) this.closed = true;
  }

  #read({ text, table }) {
    let start = 0;
    const { client } = this;
    for (let row = 0; row < table.length - 1; row += 3) {
      const [typeEnd, dataEnd, idEnd] = table.slice(row, row + 3);
      const data = text.slice(Math.max(typeEnd, start), dataEnd);
      const id = idEnd >= 0 ? text.slice(dataEnd, idEnd) : '';
      start = idEnd >= 0 ? idEnd : dataEnd;
      if (typeEnd < 0) continue;
      if (this.readyState !== OPEN) this.world.fail(`${this.name}: ${data} while it is not open`);
      if (data !== `data ${id}`) this.world.fail(`${this.name}: ${data} with ID ${id}`);
      if (this.last > 0 && Number(id) !== this.last + 1) this.world.fail(`${this.name}: ${id} after ${this.last}`);
      this.last = Number(id);
      this.lastEventId = id;
      this.received++;
    }
    if (client) this.node.later(() => this.client === client && this.node.stream.taken(client, costOf({ text })), this.slow);
  }

  /** Continues over its own connection. */
  goAlone() {
    this.world.log(`${this.name} goes alone from ${this.lastEventId}`);
    this.world.alone++;
    this.client = undefined;
    this.readyState = 0;
    this.own = new Connection(this.world, undefined, this.lastEventId, (entry) => this.#handle(entry));
  }

  leave() {
    this.closed = true;
    const { client } = this;
    this.client = undefined;
    this.node.pages.delete(this);
    this.own?.end();
    if (client) this.node.stream.remove(client);
  }

  /** The page returns from the back/forward cache, on another node. */
  return(node) {
    const { client } = this;
    if (!client) return;
    this.client = undefined;
    this.#queue = [];
    this.node.pages.delete(this);
    if (this.node.alive) this.node.stream.remove(client);
    if (node.stream.phase === 'ended' || node.stream.phase === 'closed') this.goAlone();
    else this.join(node);
  }
}

/** How many ticks a node may take to replace a silent leader. */
const LONGEST_WAIT = 8;

/** A realm in which worker.js runs. */
class Node {
  alive = true;
  pages = new Set();
  #frozenUntil = 0;
  #inbox = [];
  #waits = 0;

  constructor(world, name) {
    Object.assign(this, { world, name });
    this.stream = new SharedStream(this, { node: name, now: this.now, log: new Log(world.logSize), largestLag: world.largestLag });
  }

  get now() {
    return this.world.clock.now;
  }

  begin() {
    this.stream.begin();
    this.#tick();
  }

  #tick() {
    this.later(() => {
      this.stream.tick(this.now);
      this.#waits = this.stream.steals ? this.#waits + 1 : 0;
      if (this.#waits > LONGEST_WAIT) this.world.fail(`${this.name} does not replace a silent leader`);
      this.#tick();
    }, TICK);
  }

  /** Runs f in order, after the node has thawed if it is frozen, or never if it has gone. */
  later(f, delay = this.world.random.below(3)) {
    this.world.clock.after(delay, () => {
      if (!this.alive) return;
      if (this.now >= this.#frozenUntil && this.#inbox.length === 0) f();
      else this.#inbox.push(f);
    });
  }

  freeze(duration) {
    this.#frozenUntil = Math.max(this.#frozenUntil, this.now + duration);
    this.world.clock.after(duration, () => this.#thaw());
  }

  #thaw() {
    if (this.now < this.#frozenUntil) return;
    for (let f; this.alive && this.now >= this.#frozenUntil && (f = this.#inbox.shift()); ) f();
  }

  /** Ends the node and its pages: a page's own worker ends with the page. */
  kill() {
    for (const page of this.pages) page.closed = true;
    this.crash();
  }

  /** Ends the node only: pages survive a worker that they share. */
  crash() {
    this.alive = false;
    this.connection?.end();
    this.world.clock.after(this.world.random.below(20), () => this.world.locks.drop(this));
  }

  // The methods of the host, which SharedStream calls.

  send(message) {
    this.world.log(`${this.name} ${JSON.stringify(message).slice(0, 150)}`);
    for (const node of this.world.nodes) if (node !== this) this.world.carry(node, message);
  }

  queue() {
    this.world.locks.request(this);
  }

  steal() {
    this.world.log(`${this.name} steals`);
    this.later(() => this.stream.steals && this.world.locks.steal(this));
  }

  release() {
    this.world.locks.drop(this);
  }

  connect(lastEventId) {
    this.world.log(`${this.name} connects from ${lastEventId}`);
    this.world.takeovers++;
    this.connection?.end();
    const connection = new Connection(this.world, this, lastEventId, (entry) => this.connection === connection && this.stream.produce(entry));
    this.connection = connection;
  }

  disconnect() {
    this.connection?.end();
    this.connection = undefined;
  }

  wake() {
    this.connection?.break();
  }

  options = [];

  meet() {}

  closed() {}

  ended() {
    this.alive = false;
    for (const page of this.pages) if (page.isLeft) this.world.fail(`${page.name} was left behind`);
  }
}

class World {
  nodes = [];
  pages = [];
  failures = [];
  lines = [];
  alone = 0;
  takeovers = 0;
  #names = 0;

  constructor(seed) {
    this.random = new Random(seed);
    this.clock = new Clock();
    this.locks = new Locks(this);
    this.server = new Server();
    this.logSize = this.random.chance(30) ? this.random.pick([1024, 4096]) : undefined;
    this.largestLag = this.random.chance(30) ? 200 : undefined;
    this.lossy = this.random.chance(30);
    this.slowest = this.random.pick([2, 20, 200]);
  }

  log(line) {
    this.lines.push(`${this.clock.now} ${line}`);
  }

  fail(line) {
    this.log(`FAILURE ${line}`);
    this.failures.push(line);
  }

  /** Delivers a message late, twice, or not at all. Messages to one node may arrive out of order. */
  carry(node, message) {
    const posted = structuredClone(message);
    const copy = messageOf(posted);
    if (!copy) this.fail(`a message was refused: ${JSON.stringify(message)}`);
    if (this.lossy && this.random.chance(5)) return;
    node.later(() => node.stream.receive(copy, node.now), this.random.below(this.slowest));
    if (this.random.chance(3)) node.later(() => node.stream.receive(messageOf(posted), node.now), this.random.below(300));
  }

  open(node, more) {
    const page = new Page(this, node, more);
    page.name = `page${++this.#names}`;
    if (this.random.chance(10)) page.slow = this.random.below(this.random.pick([300, 3000]));
    this.pages.push(page);
    this.log(`${page.name} on ${node.name} from ${page.lastEventId}`);
  }

  start() {
    const node = new Node(this, `n${++this.#names}`);
    this.nodes.push(node);
    node.begin();
    this.open(node, this.random.chance(20) && this.server.last > 3 ? { lastEventId: `${this.server.last - this.random.below(3)}` } : {});
  }

  get alive() {
    return this.nodes.filter(({ alive, stream }) => alive && stream.phase !== 'ended' && stream.phase !== 'closed');
  }

  step() {
    const { random } = this;
    const node = this.alive.length > 0 ? random.pick(this.alive) : undefined;
    const what = random.below(100);
    if (!node || (what < 12 && this.alive.length < 8)) this.start();
    else if (what < 24) this.open(node);
    else if (what < 34) this.act(node, 'kill');
    else if (what < 46) this.act(node, 'freeze', random.pick([50, 400, 900, 3000]));
    else if (what < 56) [...node.pages][0]?.leave();
    else if (what < 66) [...node.pages][0]?.return(random.pick(this.alive.filter(({ stream }) => stream.phase !== 'ended')) ?? node);
    else if (what < 74) for (const connection of this.server.connections) connection.break();
    else if (what < 78) node.later(() => node.stream.wake());
    else if (what < 88) this.crash(node);
    else if (what < 92) this.locks.holder && this.act(this.locks.holder, 'kill');
  }

  /** Ends a shared worker. Its pages join another one when they notice. */
  crash(node) {
    this.act(node, 'crash');
    const pages = [...node.pages].filter(({ closed }) => !closed);
    if (pages.length === 0) return;
    let other;
    const find = () => {
      if (other && (!other.alive || ['closed', 'ended'].includes(other.stream.phase))) other = undefined;
      if (!other) {
        other = new Node(this, `n${++this.#names}`);
        this.nodes.push(other);
        other.later(() => other.begin());
      }
      return other;
    };
    for (const page of pages) this.clock.after(this.random.below(30), () => page.closed || page.return(find()));
  }

  act(node, what, ...values) {
    this.log(`${what} ${node.name} ${values}`);
    node[what](...values);
  }

  run(steps) {
    for (let step = 0; step < steps; step++) {
      this.clock.run(this.clock.now + this.random.below(200));
      this.step();
      for (let n = this.random.below(6); n > 0; n--) this.clock.after(this.random.below(200), () => this.server.publish());
    }
    this.lossy = false;
    for (const page of this.pages) page.slow = undefined;
    // Long enough for each leader to search for its clients' events and to give up.
    this.clock.run(this.clock.now + 30_000);
    for (let n = 0; n < 5; n++) this.clock.after(100 * n, () => this.server.publish());
    this.clock.run(this.clock.now + 6000);
    this.#check();
  }

  /** Checks that every page has received every event, over one connection. */
  #check() {
    const pages = this.pages.filter(({ closed, node }) => !closed && node.alive);
    for (const { name, last, readyState, own } of pages) {
      if (readyState !== OPEN) this.fail(`${name} is not open`);
      if (last !== this.server.last) this.fail(`${name} has received ${last} of ${this.server.last}${own ? ' alone' : ''}`);
    }
    const shared = pages.filter(({ client }) => client);
    const connections = [...this.server.connections].filter(({ node }) => node);
    if (connections.length !== (shared.length > 0 ? 1 : 0)) this.fail(`${connections.length} connections for ${shared.length} pages`);
    this.server.gone = true;
    for (const connection of [...this.server.connections]) connection.break();
    this.clock.run(this.clock.now + 6000);
    for (const { name, closed } of pages) if (!closed) this.fail(`${name} does not know that the stream has failed`);
    for (const { name, stream, alive } of this.nodes) if (alive && stream.phase !== 'ended') this.fail(`${name} does not end: ${stream.phase}`);
  }
}

const [first, count, trace] = process.argv.slice(2);
const totals = { takeovers: 0, alone: 0, received: 0, pages: 0 };
for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  const world = new World(seed);
  try {
    world.run(60);
  } catch (error) {
    world.fail(error.stack);
  }
  totals.takeovers += world.takeovers;
  totals.alone += world.alone;
  totals.pages += world.pages.length;
  for (const { received } of world.pages) totals.received += received;
  if (trace) console.log(world.lines.join('\n'));
  else if (world.failures.length > 0) {
    console.log(`seed ${seed}: ${world.failures.slice(0, 5).join('; ')}`);
    process.exitCode = 1;
  }
}
console.error(JSON.stringify(totals));
