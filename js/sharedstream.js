// One node's part in a shared stream. A node is a realm, such as a worker. One node leads: it has the connection, numbers the
// entries and sends them to the followers. This is a state machine without I/O. Its inputs are methods, and its commands are
// methods of its host:
//
//   send(message)                            post to all other nodes
//   queue()                                  request the lock; granted() follows when it is free
//   steal()                                  take the lock from a silent leader; granted() may follow
//   release()                                release the lock, or cancel the request
//   connect(lastEventId, reconnectionTime)   connect; produce() follows for each entry
//   disconnect(), wake()
//   options, meet(options)                   the options of this node's connection; meet() gets those of the leader
//   closed()                                 the stream has failed: new sources begin another
//   ended()                                  no clients are left
//
// The leader may disappear at any time. Then another node gets the lock and continues from its own last entry. Nodes that
// have fewer entries ask it for the rest. Nodes that have more discard those: their clients wait for their last event, which
// the server sends again. The new leader does not ask who has the most entries, so it does not have to wait for answers.
//
// A client that cannot continue without loss, for example because it was frozen for too long, is lost(): it makes its own
// connection.

import { costOf, LARGEST_LAG } from './lag.js';
import { common, extended, includes, isNewer, Log, NOTHING_YET, restOf, sizeOf, stateOf } from './sharedlog.js';

/** How often tick() is to be called, in milliseconds. */
export const TICK = 150;

/**
 * After how many ticks without a message from the leader to ask for one, and to replace the leader. These are ticks, not
 * times: where ticks are late, so are messages.
 */
const ASK_AFTER = 2;
const REPLACE_AFTER = 5;

/** The number of ticks without a leader after which clients make their own connections. */
const GIVE_UP_AFTER = 40;

/** How often a leader asks who still follows, and how long it waits for the answers, in ticks. */
const ROLL_CALL_EVERY = 100;
const ROLL_CALL_TIME = 10;

/** A bound: a leader only has to know whether it has followers. */
const MOST_FOLLOWERS = 1000;

/** How many ticks of an open stream a client waits for its last event. */
const LONGEST_SEARCH = 20;

/** The size of the entries in an answer to `want`. */
const LARGEST_MESSAGE = 256 * 1024;

const [OPEN, CLOSED] = [1, 2];

/** A source of a page. Its owner sets `post`, `send` and `lost`. */
export class Client {
  /** The number of the next entry, and how many numbers of its table to skip. */
  next = 0;
  rows = 0;
  lag = 0;
  /** Whether it has no position in the log yet, and whether it is waiting for its last event. */
  waits = true;
  seeks = false;
  /** Whether its page was asked for headers and has not answered. */
  silent = false;
  /** @type {any} */
  stream;
  /** @type {(message: object) => void} */
  post;
  /** @type {(message: any) => void} */
  send;
  /** @type {() => void} */
  lost;

  /**
   * `at` is for a client that returns: it is `at` of the last message that was delivered completely. It consists of an epoch,
   * the number of an entry, and the stream's last event ID after that entry. The client's own ID may be a later one.
   *
   * @param {{ lastEventId: string, readyState: number, at?: [[number, string], number, string] }} place
   */
  constructor({ lastEventId, readyState = 0, at }) {
    Object.assign(this, { lastEventId: at?.[2] ?? lastEventId, readyState, at });
  }
}

export class SharedStream {
  phase = 'joining';
  clients = new Set();
  #host;
  #largestLag;
  #node;
  #log;
  #history = [];
  /** The epoch of the leader, and the highest count of any epoch seen. */
  #epoch = [0, ''];
  #count = 0;
  /** The nodes that follow this one, and those that have answered the current roll call. */
  #followers = new Set();
  #present = new Set();
  #ticks = 0;
  /** Whether this leader has seen a newer epoch than its own. */
  #rival = false;
  /** The number of ticks since the last message from the leader, and the time of the last tick. */
  #silence = 0;
  #tickedAt;
  /** The number of the entry that the log must reach before clients are placed. */
  #target = 0;
  #wantedAt = -Infinity;
  /** Whether a closed stream has released the lock. */
  #released = false;
  /** Whether the connection is open, and for how many ticks. */
  #isOpen = false;
  #age = 0;

  constructor(host, { node, now, log = new Log(), largestLag = LARGEST_LAG }) {
    this.#host = host;
    this.#largestLag = largestLag;
    this.#node = node;
    this.#log = log;
    this.#tickedAt = now;
  }

  get head() {
    return this.#log.head;
  }

  /** Whether to steal the lock: the leader is still silent. */
  get steals() {
    return (this.phase === 'joining' || this.phase === 'following') && this.#silence >= REPLACE_AFTER;
  }

  /** Requests the lock and looks for a leader. */
  begin() {
    this.#host.queue();
    this.#askToJoin();
  }

  // Inputs from clients.

  add(client) {
    this.clients.add(client);
    if (this.phase === 'leading' || (this.phase === 'following' && this.head >= this.#target)) this.#place(client);
  }

  remove(client) {
    this.clients.delete(client);
    this.#endIfDeserted();
  }

  /** The client has delivered messages of this cost. */
  taken(client, length) {
    client.lag = Math.max(0, client.lag - length);
    this.#pump(client);
    this.#endIfDeserted();
  }

  wake() {
    if (this.phase === 'leading') this.#host.wake();
    else this.#send({ kind: 'wake' });
  }

  // Inputs from the lock.

  /** This node has the lock. */
  granted() {
    if (this.phase === 'ended' || this.phase === 'closed') {
      this.#host.release();
      return;
    }
    // Clients are returning from a leader that is gone. Wait a tick for all of them: the log begins with the one that has least.
    if (this.phase === 'leading' || this.phase === 'gathering') return;
    const returning = this.phase === 'joining' && [...this.clients].some(({ at }) => at);
    this.phase = returning ? 'gathering' : 'leading';
    if (!returning) this.#lead();
  }

  /** Another node has stolen the lock. */
  stolen() {
    if (this.phase === 'closed' || this.phase === 'ended') return;
    if (this.phase === 'leading') {
      this.#host.disconnect();
      this.phase = 'following';
    } else if (this.phase === 'gathering') this.phase = 'joining';
    this.#silence = 0;
    this.#host.queue();
    this.#ask();
  }

  // Inputs from the connection.

  /** Appends what the connection has received or fired. */
  produce(entry) {
    if (this.phase !== 'leading') return;
    const number = this.#log.append(entry);
    if (this.#followers.size > 0) this.#send({ kind: 'entries', epoch: this.#epoch, first: number, entries: [entry] });
    this.#appended(entry);
    if (entry.readyState === CLOSED) this.#close();
  }

  // Inputs from other nodes. Messages are validated copies: see sharedmessages.js.

  receive(message, now) {
    if (this.phase === 'ended' || (message.to !== undefined && message.to !== this.#node)) return;
    this.#sawEpoch(message.epoch ?? message.history?.at(-1)[0]);
    this[`on${message.kind}`](message, now);
    this.#endIfDeserted();
  }

  /** A node joins, with the positions of its clients. */
  onjoin({ from, places }) {
    if (this.phase === 'closed') this.#release(); // the new node will lead
    if (this.phase !== 'leading') return;
    this.#isFollowedBy(from);
    const numbers = places.map((place) => this.#numberOf(place)).filter((number) => number !== undefined);
    this.#announce(from, Math.max(Math.min(this.head, ...numbers), this.#log.first - 1));
  }

  /** A follower reports its epoch. */
  onhave({ from, epoch }) {
    if (this.phase !== 'leading') return;
    this.#isFollowedBy(from);
    if (`${epoch}` !== `${this.#epoch}`) this.#announce(from, this.head);
    else if (this.#ticks % ROLL_CALL_EVERY >= ROLL_CALL_TIME) this.#beat();
  }

  #isFollowedBy(node) {
    for (const nodes of [this.#followers, this.#present]) if (nodes.size < MOST_FOLLOWERS) nodes.add(node);
  }

  onbye({ from }) {
    this.#followers.delete(from);
    this.#present.delete(from);
  }

  onwake() {
    if (this.phase === 'leading') this.#host.wake();
  }

  /** A node leads. */
  onlead(message, now) {
    const { to, history, head, first, start, base } = message;
    const epoch = history.at(-1)[0];
    if (this.phase !== 'joining' && this.phase !== 'following') return;
    if (isNewer(this.#epoch, epoch)) return;
    this.#silence = 0;
    if (this.phase === 'following' && `${epoch}` === `${this.#epoch}`) {
      if (first > this.head + 1) this.#forget();
      else if (head > this.head) this.#want(now);
    } else if (this.phase === 'following') {
      const shared = common(this.#history, this.head, history, head);
      if (shared !== undefined && this.#log.knows(shared) && shared >= first - 1) this.#follow(message, shared, now);
      else this.#forget();
    } else if (to === undefined) this.#askToJoin();
    else {
      this.#host.meet(message.options);
      this.#log.reset(start, base);
      this.phase = 'following';
      this.#follow(message, start, now);
    }
  }

  onentries({ epoch, first, entries }, now) {
    if (this.phase !== 'following' || !this.#isFollowed(epoch)) return;
    if (first > this.head + 1) {
      this.#want(now);
      return;
    }
    for (const entry of entries.slice(this.head + 1 - first)) {
      this.#log.append(entry);
      this.#appended(entry);
      if (entry.readyState !== CLOSED) continue;
      this.#close();
      return;
    }
    if (this.head < this.#target) this.#want(now, this.head + 1);
  }

  onbeat({ epoch, head, ask }, now) {
    if (this.phase !== 'following' || !this.#isFollowed(epoch)) return;
    if (ask) this.#ask();
    if (head > this.head) this.#want(now);
  }

  /** A follower lacks entries. */
  onwant({ from, epoch, first }) {
    if (this.phase !== 'leading' && this.phase !== 'closed') return;
    if (`${epoch}` !== `${this.#epoch}` || !this.#log.knows(first - 1)) {
      if (this.phase === 'leading') this.#announce(from, this.head);
      return;
    }
    const entries = [];
    for (let [number, size] = [first, 0]; number <= this.head && size < LARGEST_MESSAGE; number++) {
      const { batch, origin, fire, details, readyState, reconnectionTime } = this.#log.at(number);
      const entry = batch ? { batch, origin, reconnectionTime } : { fire, details, readyState, reconnectionTime };
      entries.push(entry);
      size += sizeOf(entry);
    }
    if (entries.length > 0) this.#send({ kind: 'entries', to: from, epoch: this.#epoch, first, entries });
  }

  // Inputs from the clock.

  tick(now) {
    const slept = now - this.#tickedAt > REPLACE_AFTER * TICK;
    this.#tickedAt = now;
    if (this.phase === 'leading') this.#tickLeader();
    else if (this.phase === 'gathering') this.#gathered();
    else if (this.phase === 'joining' || this.phase === 'following') this.#tickFollower(slept);
    else if (this.phase === 'closed') this.#release();
    if (this.#isOpen) this.#age++;
    for (const client of [...this.clients]) if (client.seeks && !this.#isYoung) this.#lose(client);
    this.#endIfDeserted();
  }

  #tickLeader() {
    this.#ticks++;
    const tick = this.#ticks % ROLL_CALL_EVERY;
    if (tick === 0) this.#present = new Set();
    if (tick === ROLL_CALL_TIME) this.#followers = this.#present;
    if (this.#rival) this.#lead(true);
    else if (this.#followers.size > 0) this.#beat(tick === 0);
  }

  /** A node that was frozen has not received messages, so it starts counting the leader's silence again. */
  #tickFollower(slept) {
    this.#silence = slept ? 0 : this.#silence + 1;
    if (slept || this.#silence >= ASK_AFTER) this.#ask();
    if (this.#silence >= GIVE_UP_AFTER) for (const client of [...this.clients]) this.#lose(client);
    else if (this.#silence % REPLACE_AFTER === 0 && this.#silence > 0) this.#host.steal();
  }

  #gathered() {
    this.phase = 'leading';
    this.#lead();
  }

  // Reactions to inputs.

  /** Begins an epoch, with a new connection or the current one. */
  #lead(connected = false) {
    this.#rival = false;
    const waiting = [...this.clients].filter(({ waits }) => waits);
    if (this.#history.length === 0) this.#startWith(waiting);
    this.#epoch = [++this.#count, this.#node];
    this.#history = extended(this.#history, this.#epoch, this.head + 1);
    this.#target = this.head;
    if (!connected) this.#opens(false);
    this.#announce(undefined, this.head);
    for (const client of waiting) this.#place(client);
    const { lastEventId, reconnectionTime } = this.#log.after(this.head);
    if (!connected) this.#host.connect(lastEventId, reconnectionTime);
  }

  /**
   * Notes an epoch of another node. A leader that sees a newer epoch than its own begins an even newer one, because it has the
   * lock.
   *
   * @param {any[]} epoch
   */
  #sawEpoch(epoch = [0, '']) {
    this.#count = Math.max(this.#count, epoch[0]);
    if (this.phase === 'leading' && isNewer(epoch, this.#epoch)) this.#rival = true;
  }

  /** Begins the log at the earliest position of a client. */
  #startWith(waiting) {
    const [first] = [...waiting].sort((a, b) => (a.at?.[1] ?? Number.MAX_VALUE) - (b.at?.[1] ?? Number.MAX_VALUE));
    if (!first) return;
    const { lastEventId, at } = first;
    const { reconnectionTime } = this.#log.after(this.head);
    this.#log.reset(at?.[1] ?? 0, { ...NOTHING_YET, reconnectionTime, lastEventId });
    if (!at) return;
    this.#count = Math.max(this.#count, at[0][0]);
    this.#history = [[at[0], at[1]]];
  }

  /** Follows a leader from the last entry that both nodes have. */
  #follow({ history, head, isOpen }, shared, now) {
    this.#opens(isOpen);
    for (const client of [...this.clients]) this.#goBack(client, shared);
    this.#log.truncate(shared);
    this.#history = history;
    this.#epoch = history.at(-1)[0];
    this.#target = Math.max(head, shared);
    if (head > shared) this.#want(now, shared + 1);
    else this.#placeAll();
  }

  /** Joins again, because the log has nothing in common with the leader's. Clients continue from their last events. */
  #forget() {
    for (const client of [...this.clients]) {
      if (!client.waits) this.#leavePlace(client);
      client.waits = true;
      client.seeks = false;
    }
    this.#history = [];
    this.phase = 'joining';
    this.#askToJoin();
  }

  /** Replaces the client's position in the log by its last event ID. */
  #leavePlace(client) {
    if (client.next < this.#log.first) this.#lose(client);
    if (!client.seeks) client.lastEventId = this.#idOf(client);
    client.at = undefined;
  }

  /** Makes a client that has seen later entries wait until its last event comes again. */
  #goBack(client, shared) {
    const { waits, next, rows } = client;
    if (waits || (!client.seeks && next <= shared + (rows > 0 ? 0 : 1))) return;
    this.#leavePlace(client);
    client.seeks = client.lastEventId !== '';
    client.next = shared + 1;
    client.rows = 0;
  }

  /** Returns the last event ID that the client has seen. */
  #idOf({ next, rows }) {
    const { batch } = this.#log.at(next) ?? {};
    for (let row = rows - 3; row >= 0; row -= 3) {
      const [, dataEnd, idEnd] = batch.table.slice(row, row + 3);
      if (idEnd >= 0) return batch.text.slice(dataEnd, idEnd);
    }
    return this.#log.after(next - 1).lastEventId;
  }

  #opens(isOpen) {
    this.#isOpen = isOpen;
    this.#age = 0;
  }

  get #isYoung() {
    return this.#age <= LONGEST_SEARCH;
  }

  #appended(entry) {
    if (entry.fire) this.#opens(entry.fire === 'open');
    this.#placeAll();
    for (const client of [...this.clients]) this.#pump(client);
  }

  #placeAll() {
    if (this.head < this.#target) return;
    for (const client of [...this.clients]) if (client.waits) this.#place(client);
  }

  /** Returns the number of the last entry that a client at this position has, or undefined. */
  #numberOf({ lastEventId, at }) {
    if (at && includes(this.#history, this.head, at)) return at[1];
    const found = lastEventId === '' ? undefined : this.#log.find(lastEventId);
    return found && found.number - 1;
  }

  /** Finds the client's position in the log. */
  #place(client) {
    const { at, lastEventId } = client;
    client.waits = false;
    if (at && includes(this.#history, this.head, at) && this.#log.knows(at[1])) client.next = at[1] + 1;
    else if (lastEventId === '') client.next = this.head + 1;
    else this.#seek(client, this.#log.first);
    if (client.seeks || !this.clients.has(client)) return;
    this.#greet(client);
    this.#pump(client);
  }

  /** Looks for the client's last event. A stream that is not open, or has just opened, may still send it. */
  #seek(client, from) {
    const found = this.#log.find(client.lastEventId, from);
    client.seeks = !found && this.#isYoung;
    if (found) [client.next, client.rows] = [found.number, found.rows];
    else if (this.#isYoung) client.next = this.head + 1;
    else this.#lose(client);
  }

  /** Tells a client that the stream is open. */
  #greet(client) {
    const { open, opened, reconnectionTime } = this.#log.after(client.next - 1);
    if (!open || client.readyState === OPEN) return;
    client.readyState = OPEN;
    client.send({ fire: 'open', details: opened, readyState: OPEN, reconnectionTime, at: this.#positionOf(client.next - 1) });
  }

  #pump(client) {
    if (client.waits) return;
    if (client.seeks) {
      this.#seek(client, client.next);
      if (client.seeks || !this.clients.has(client)) return;
      this.#greet(client);
    }
    if (client.next < this.#log.first) this.#lose(client);
    while (this.clients.has(client) && client.next <= this.head && client.lag <= this.#largestLag) this.#give(client);
  }

  /** Sends a client its next entry. Clients that are open do not see the open event of a new leader's connection. */
  #give(client) {
    const { batch, origin, fire, details, readyState, reconnectionTime } = this.#log.at(client.next);
    const at = this.#positionOf(client.next);
    const { rows } = client;
    client.next++;
    client.rows = 0;
    if (batch) {
      const rest = rows > 0 ? restOf(batch, rows) : batch;
      client.lag += costOf(rest);
      client.send({ batch: rest, origin, reconnectionTime, at });
      return;
    }
    if (fire === 'open' && client.readyState === OPEN) return;
    client.readyState = readyState;
    if (readyState === CLOSED) this.clients.delete(client);
    client.send({ fire, details, readyState, reconnectionTime, at });
  }

  #positionOf(number) {
    const [epoch] = this.#history.filter(([, first]) => first <= number).at(-1) ?? this.#history[0];
    return [epoch, number, this.#log.after(number).lastEventId];
  }

  #lose(client) {
    this.clients.delete(client);
    client.lost();
  }

  #close() {
    if (this.phase === 'leading') this.#host.disconnect();
    else this.#release();
    this.phase = 'closed';
    for (const client of [...this.clients]) if (client.seeks || client.waits) this.#lose(client);
    this.#host.closed();
  }

  #endIfDeserted() {
    if (this.clients.size > 0 || this.phase === 'ended') return;
    if (this.phase === 'closed' && !this.#released) return; // until the next tick, which releases the lock
    if (this.phase === 'leading') this.#host.disconnect();
    else this.#send({ kind: 'bye' });
    this.phase = 'ended';
    this.#host.release();
    this.#host.ended();
  }

  #release() {
    this.#released = true;
    this.#host.release();
  }

  #isFollowed(epoch) {
    const followed = `${epoch}` === `${this.#epoch}`;
    if (followed) this.#silence = 0;
    else if (isNewer(epoch, this.#epoch)) this.#ask();
    return followed;
  }

  #ask() {
    if (this.phase === 'joining') this.#askToJoin();
    else this.#send({ kind: 'have', epoch: this.#epoch });
  }

  #askToJoin() {
    const places = [...this.clients].filter(({ lastEventId, at }) => at || lastEventId !== '');
    this.#send({ kind: 'join', places: places.slice(0, 100).map(({ lastEventId, at }) => ({ lastEventId, at })) });
  }

  /** Asks for the missing entries, at a limited rate unless `first` is given. */
  #want(now, first = 0) {
    if (first === 0 && now - this.#wantedAt < TICK / 2) return;
    this.#wantedAt = now;
    this.#send({ kind: 'want', epoch: this.#epoch, first: first || this.head + 1 });
  }

  /** @param {boolean} [ask] whether followers must answer */
  #beat(ask) {
    this.#send({ kind: 'beat', epoch: this.#epoch, head: this.head, ask });
  }

  #announce(to, start) {
    const { head } = this;
    const { options } = this.#host;
    const base = stateOf(this.#log.after(start));
    this.#send({ kind: 'lead', to, history: this.#history, head, first: this.#log.first, start, isOpen: this.#isOpen, base, options });
  }

  #send(message) {
    this.#host.send({ from: this.#node, ...message });
  }
}
