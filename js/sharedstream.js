// One realm's part in a stream that many share. One of them leads: it has the connection, numbers what comes of it, and
// sends that to the others, who follow. This is a machine without I/O: its inputs are methods, and what it wants done are
// calls of its host, which are methods too:
//
//   send(message)                        to all others
//   queue()                              ask for the lock; granted() follows when no other has it
//   steal()                              take the lock from a leader that says nothing; granted() may follow
//   release()                            give the lock up, or stop to ask for it
//   connect(lastEventId, reconnectionTime)   produce() follows, as often as something happens
//   disconnect(), wake()
//   options, meet(options)               what the connection of the one who leads is made with
//   closed()                             the stream has failed: whoever comes now begins another
//   ended()                              nobody is left here
//
// The leader may go at any time without a word. Then another gets the lock, and goes on from the last entry that it has
// itself. Those who have less ask it for the rest. Those who have more forget that: their clients wait for the event that
// they have come to, which the server sends again. Nobody is asked who has the most, so nobody is waited for.
//
// A client that cannot go on without a loss, for example since it was frozen for longer than the log reaches back, is
// lost(): it makes a connection of its own.

import { costOf, LARGEST_LAG } from './lag.js';
import { common, extended, includes, isNewer, Log, NOTHING_YET, restOf, sizeOf, stateOf } from './sharedlog.js';

/** How often tick() is to be called, in milliseconds. */
export const TICK = 150;

/**
 * After how many ticks without a word of a leader it is asked whether it is there, and after how many it is replaced. Not
 * after how much time: where ticks come late, so do words.
 */
const ASK_AFTER = 2;
const REPLACE_AFTER = 5;

/** After how many ticks without a leader, though it tries to replace it, clients are left to connections of their own. */
const GIVE_UP_AFTER = 40;

/** How often a leader looks who still follows, in ticks, and how long it waits for their answers. */
const ROLL_CALL_EVERY = 100;
const ROLL_CALL_TIME = 10;

/** A leader only has to know whether there are any. */
const MOST_FOLLOWERS = 1000;

/** For how many ticks of an open stream a client waits for the event that it has come to. */
const LONGEST_SEARCH = 20;

/** How much is sent again in one message. */
const LARGEST_MESSAGE = 256 * 1024;

const [OPEN, CLOSED] = [1, 2];

/** A source of a page. Its owner gives it `send(message)` and `lost()`. */
export class Client {
  /** The number of the next entry, and how many numbers of that one's table it has already. */
  next = 0;
  rows = 0;
  lag = 0;
  /** Whether it has no place in the log yet, or is looking for its last event. */
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
   * A client that comes back says what `at` was in the last message that it has got all of: an epoch, the number of an entry, and
   * the stream's last event ID then, which is not the client's if that has come later.
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
  /** That of the leader, and the highest count that was seen of any. */
  #epoch = [0, ''];
  #count = 0;
  /** Those that follow this one, and those of them that have answered the last roll call. */
  #followers = new Set();
  #present = new Set();
  #ticks = 0;
  /** Whether another leads, or has led, that is not known to be older. */
  #rival = false;
  /** How often tick() was called since the leader was heard, and when. */
  #silence = 0;
  #tickedAt;
  /** How far the log has to be until clients find their place in it. */
  #target = 0;
  #wantedAt = -Infinity;
  /** Whether the lock of a stream that has failed is given up. */
  #released = false;
  /** Whether this epoch's connection has been open, and for how many ticks. */
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

  /** Whether it still wants to replace a leader. */
  get steals() {
    return (this.phase === 'joining' || this.phase === 'following') && this.#silence >= REPLACE_AFTER;
  }

  /** Begins to look for the others. */
  begin() {
    this.#host.queue();
    this.#askToJoin();
  }

  // What clients do.

  add(client) {
    this.clients.add(client);
    if (this.phase === 'leading' || (this.phase === 'following' && this.head >= this.#target)) this.#place(client);
  }

  remove(client) {
    this.clients.delete(client);
    this.#endIfDeserted();
  }

  /** The client has delivered so much. */
  taken(client, length) {
    client.lag = Math.max(0, client.lag - length);
    this.#pump(client);
    this.#endIfDeserted();
  }

  wake() {
    if (this.phase === 'leading') this.#host.wake();
    else this.#send({ kind: 'wake' });
  }

  // What the lock does.

  /** This one leads. */
  granted() {
    if (this.phase === 'ended' || this.phase === 'closed') {
      this.#host.release();
      return;
    }
    // Of those who come from a leader that has gone, the one that has least is to come first.
    if (this.phase === 'leading' || this.phase === 'gathering') return;
    const returning = this.phase === 'joining' && [...this.clients].some(({ at }) => at);
    this.phase = returning ? 'gathering' : 'leading';
    if (!returning) this.#lead();
  }

  /** Another has taken the lock. */
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

  // What the connection does.

  /** Something has happened to the connection. */
  produce(entry) {
    if (this.phase !== 'leading') return;
    const number = this.#log.append(entry);
    if (this.#followers.size > 0) this.#send({ kind: 'entries', epoch: this.#epoch, first: number, entries: [entry] });
    this.#appended(entry);
    if (entry.readyState === CLOSED) this.#close();
  }

  // What the others say. Messages are copies of a known shape: see sharedmessages.js.

  receive(message, now) {
    if (this.phase === 'ended' || (message.to !== undefined && message.to !== this.#node)) return;
    this.#sawEpoch(message.epoch ?? message.history?.at(-1)[0]);
    this[`on${message.kind}`](message, now);
    this.#endIfDeserted();
  }

  /** Somebody has come, and wants to know where the clients that come along with it go on. */
  onjoin({ from, places }) {
    if (this.phase === 'closed') this.#release(); // the one who joins is to lead
    if (this.phase !== 'leading') return;
    this.#isFollowedBy(from);
    const numbers = places.map((place) => this.#numberOf(place)).filter((number) => number !== undefined);
    this.#announce(from, Math.max(Math.min(this.head, ...numbers), this.#log.first - 1));
  }

  /** Somebody follows. */
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

  /** Somebody leads. */
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

  /** Somebody lacks entries. */
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

  // What the clock does.

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

  /** Whoever was frozen has not listened. */
  #tickFollower(slept) {
    this.#silence = slept ? 0 : this.#silence + 1;
    if (slept || this.#silence >= ASK_AFTER) this.#ask();
    if (this.#silence >= GIVE_UP_AFTER) for (const client of [...this.clients]) this.#lose(client);
    else if (this.#silence % REPLACE_AFTER === 0 && this.#silence > 0) this.#host.steal();
  }

  /** A tick has passed. */
  #gathered() {
    this.phase = 'leading';
    this.#lead();
  }

  // What follows from it.

  /** Begins an epoch, with the connection that there is or with another. */
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
   * A leader that meets a later epoch than its own begins one later still: it has the lock.
   *
   * @param {any[]} epoch
   */
  #sawEpoch(epoch = [0, '']) {
    this.#count = Math.max(this.#count, epoch[0]);
    if (this.phase === 'leading' && isNewer(epoch, this.#epoch)) this.#rival = true;
  }

  /** The log begins where its first client has come to. */
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

  /** Takes what the leader has, after the entry that both have. */
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

  /** Nothing is known of what the leader has: clients go on from their last event. */
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

  /** From now on the client's place is its last event. */
  #leavePlace(client) {
    if (client.next < this.#log.first) this.#lose(client);
    if (!client.seeks) client.lastEventId = this.#idOf(client);
    client.at = undefined;
  }

  /** If the client has seen more than that, it waits for it to come again. */
  #goBack(client, shared) {
    const { waits, next, rows } = client;
    if (waits || (!client.seeks && next <= shared + (rows > 0 ? 0 : 1))) return;
    this.#leavePlace(client);
    client.seeks = client.lastEventId !== '';
    client.next = shared + 1;
    client.rows = 0;
  }

  /** The last event ID that the client has seen. */
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

  /** The number of the last entry that a client with this place has, or undefined. */
  #numberOf({ lastEventId, at }) {
    if (at && includes(this.#history, this.head, at)) return at[1];
    const found = lastEventId === '' ? undefined : this.#log.find(lastEventId);
    return found && found.number - 1;
  }

  /** Finds where the client goes on. */
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

  /** A stream that is about to be open, or has just been opened, may still bring what the client waits for. */
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

  /** Gives a client its next entry. A new leader's connection is no news to one that has been open all the time. */
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
    if (this.phase === 'closed' && !this.#released) return; // until the others know
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

  /** Asks for what it lacks, once in a while. */
  #want(now, first = 0) {
    if (first === 0 && now - this.#wantedAt < TICK / 2) return;
    this.#wantedAt = now;
    this.#send({ kind: 'want', epoch: this.#epoch, first: first || this.head + 1 });
  }

  /** @param {boolean} [ask] whether followers are to answer */
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
