package server

import "math"

// caughtUp is the position of who is behind nothing.
const caughtUp = math.MaxInt64

// lag returns by how many bytes of the log the stream that is furthest behind is behind its head.
func (b *Broker) lag() int64 {
	head := b.log().newest()
	lowest := b.departures.lowest()
	b.broadcasters.each(func(c *broadcaster) { lowest = min(lowest, c.lowest()) })
	return max(head-lowest, 0)
}

// lowest returns the position of the stream, among those with goroutines, that is furthest behind.
func (d *departures) lowest() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	lowest := int64(caughtUp)
	for s := range d.open {
		lowest = min(lowest, s.delivered.Load())
	}
	return lowest
}
