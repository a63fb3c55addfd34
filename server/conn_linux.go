package server

import (
	"math"
	"slices"
	"syscall"
	"time"
)

// lingerTime is how long a connection whose stream has ended waits for its client to close it. Closed at once, it would
// be reset if the client had sent anything, and that may overtake the end of the stream.
const lingerTime = time.Second

type connState uint8

const (
	streaming connState = iota
	ending              // what is pending is the last
	lingering           // it is written
	closed
)

// A conn is the stream of one client on a socket of its own, without a goroutine. There may be very many.
type conn struct {
	fd         int
	serial     int32
	interest   uint32 // that the poller knows of
	state      connState
	halfClosed bool // by the client

	handler *Handler
	remote  string
	seat    seat
	key     groupKey
	group   *group
	place   int     // in group.members, or none
	cursor  *cursor // of one that is behind its group
	told    uint64  // sequence of the id that the client has

	pending []byte        // what the socket did not take
	owed    int           // events of which that is the end
	first   time.Duration // when the first of them was published
	since   time.Duration // when that began
	spoken  time.Duration // when it was last written to, save as a member
	until   time.Duration // when the stream ends
	departs time.Duration // when it is drained
	cause   error
	spoke   spoke
}

const none = -1

// due returns when something must be done for c that its socket does not ask for.
func (c *conn) due() time.Duration {
	switch {
	case c.state == lingering:
		return after(c.since, lingerTime)
	case c.pending != nil:
		return after(c.since, c.handler.writeTimeout())
	}
	return min(c.until, c.departs, after(max(c.spoken, c.group.spoken), c.handler.heartbeat()))
}

// after returns t + d. A negative d is for ever, and so is more than there is.
func after(t, d time.Duration) time.Duration {
	if d < 0 || d > math.MaxInt64-t {
		return math.MaxInt64
	}
	return t + d
}

// wants returns the events that matter to c. A client that has closed its side would be reported without end.
func (c *conn) wants() (interest uint32) {
	if c.state == lingering {
		return syscall.EPOLLIN | syscall.EPOLLRDHUP
	}
	if c.pending != nil {
		interest = syscall.EPOLLOUT
	}
	if !c.halfClosed {
		interest |= syscall.EPOLLRDHUP
	}
	return interest
}

// beat is a sign of life. It tells those that were given nothing of late, as all events were for others, how far they
// are, or they would come back with an id that is long expired.
func (b *broadcaster) beat(c *conn) {
	block := b.broker.heartbeat()
	if c.cursor == nil {
		if now := c.group.cursor.next - 1; c.key.topics != nil && max(c.told, c.group.told) < now {
			c.told = now
			block = b.log.idBlock(now)
		}
	}
	c.spoken = b.now
	b.write(c, chunkOf(block))
}

// write writes the chunk, or as much as the socket takes, and reports whether that was all. Then c is still open.
func (b *broadcaster) write(c *conn, chunk []byte) bool {
	n, err := send(c.fd, chunk)
	b.broker.written.Add(int64(n))
	switch {
	case err != nil:
		b.close(c, err)
	case n < len(chunk):
		b.stall(c, chunk[n:])
	default:
		return true
	}
	return false
}

// stall keeps the rest of a chunk for when the socket takes it. Until then c has left its group, to go on from where that is.
func (b *broadcaster) stall(c *conn, rest []byte) {
	b.broker.stalled.Add(1)
	b.pinned = true
	c.pending, c.since = rest, b.now
	b.part(c)
	delete(b.behind, c)
	b.full[c] = true
	b.watch(c)
	b.schedule(c)
}

// flush continues with what is pending. The poller may report room that was used up in the meantime, so there may be
// nothing: then c is where it belongs already.
func (b *broadcaster) flush(c *conn) {
	if c.pending == nil {
		return
	}
	n, err := send(c.fd, c.pending)
	b.broker.written.Add(int64(n))
	if err != nil {
		b.close(c, err)
		return
	}
	if c.pending = c.pending[n:]; len(c.pending) > 0 {
		return
	}
	if c.owed > 0 {
		b.broker.count(c.cursor, c.owed, c.first)
	}
	c.pending, c.owed, c.spoken = nil, 0, b.now
	delete(b.full, c)
	if c.state == ending {
		b.finish(c)
		return
	}
	b.behind[c] = true
	b.watch(c)
	b.schedule(c)
}

// end writes the last of the stream after what is pending.
func (b *broadcaster) end(c *conn, farewell []byte, reason error) {
	if c.state != streaming {
		return
	}
	c.state, c.cause = ending, reason
	b.part(c)
	delete(b.behind, c)
	tail := append(chunkOf(farewell), lastChunk...)
	if c.pending != nil {
		c.pending = slices.Concat(c.pending, tail)
		b.watch(c)
		return
	}
	if b.write(c, tail) {
		b.finish(c)
	}
}

// finish ends the stream, all of which is written, and waits for the client to close the connection.
func (b *broadcaster) finish(c *conn) {
	b.leave(c, c.cause)
	c.state, c.since = lingering, b.now
	if c.halfClosed {
		b.close(c, nil)
		return
	}
	syscall.Shutdown(c.fd, syscall.SHUT_WR)
	b.watch(c)
	b.schedule(c)
}

// leave counts the stream out.
func (b *broadcaster) leave(c *conn, reason error) {
	b.broker.leave(c.seat)
	b.broker.detached.Add(-1)
	b.broker.countEnd(reason)
	c.handler.logEnd(c.remote, reason)
}

// close closes the connection, in the middle of its stream unless that has ended.
func (b *broadcaster) close(c *conn, reason error) {
	if c.state == closed {
		return
	}
	if c.state != lingering {
		b.part(c)
		delete(b.behind, c)
		delete(b.full, c)
		b.leave(c, reason)
	}
	c.state = closed
	b.wheel.remove(c)
	delete(b.conns, c.serial)
	b.drop(c)
	syscall.Close(c.fd)
	b.release()
}
