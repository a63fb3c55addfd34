package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A ledger records published events: for every topic, the sequences of its events. Only one goroutine publishes to a topic, so the
// number of an event within its topic is known before the broker assigns a sequence.
type ledger struct {
	broker *server.Broker
	names  []string
	filler []byte

	mu        sync.RWMutex
	epoch     string
	sequences [][]uint64      // by topic
	head      uint64          // all sequences up to here are recorded
	ahead     map[uint64]bool // sequences recorded before one that is lower
}

func newLedger(broker *server.Broker, names []string) *ledger {
	filler := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz "), maxSize/37+1)
	return &ledger{broker: broker, names: names, filler: filler[:maxSize], sequences: make([][]uint64, len(names)), ahead: map[uint64]bool{}}
}

// publish publishes the next event of a topic. Its data has the topic, the number and the time.
func (l *ledger) publish(topic, size int) error {
	l.mu.RLock()
	n := len(l.sequences[topic])
	l.mu.RUnlock()
	data := fmt.Sprintf("%d %d %d %d %s", topic, n, time.Now().UnixNano(), size, l.filler[:size])
	id, err := l.broker.Publish(context.Background(), l.names[topic], sse.Event{Data: data})
	if err != nil {
		return err
	}
	return l.record(topic, id)
}

// record records the next event of a topic. Publishers call it in any order, and clients may have received the event
// already.
func (l *ledger) record(topic int, id string) error {
	epoch, sequence, err := parseID(id)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch, l.ahead[sequence] = epoch, true
	for l.ahead[l.head+1] {
		l.head++
		delete(l.ahead, l.head)
	}
	l.sequences[topic] = append(l.sequences[topic], sequence)
	return nil
}

// A publication is the content of an event's data.
type publication struct {
	topic, n int
	at       time.Time
}

// read parses the data of an event. It returns an error if the data differs from what was published.
func (l *ledger) read(data []byte) (p publication, err error) {
	fields := bytes.SplitN(data, []byte(" "), 5)
	if len(fields) != 5 {
		return p, fmt.Errorf("the data is %.60q", data)
	}
	var numbers [4]int64
	for i := range numbers {
		if numbers[i], err = strconv.ParseInt(string(fields[i]), 10, 64); err != nil {
			return p, fmt.Errorf("the data is %.60q", data)
		}
	}
	p = publication{int(numbers[0]), int(numbers[1]), time.Unix(0, numbers[2])}
	if size := numbers[3]; size < 0 || size > maxSize || !bytes.Equal(fields[4], l.filler[:size]) {
		return p, fmt.Errorf("data of %d bytes starting with %.40q is damaged", len(data), data)
	}
	if p.topic < 0 || p.topic >= len(l.names) {
		return p, fmt.Errorf("no topic %d", p.topic)
	}
	return p, nil
}

// after returns the number of the first event of a topic that has a higher sequence.
func (l *ledger) after(topic int, sequence uint64) int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n, _ := slices.BinarySearchFunc(l.sequences[topic], sequence+1, cmp.Compare)
	return n
}

// sequence returns the sequence of an event, or false if its publisher does not know it yet.
func (l *ledger) sequence(topic, n int) (uint64, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if n >= len(l.sequences[topic]) {
		return 0, false
	}
	return l.sequences[topic][n], true
}

// newest returns the position up to which everything is recorded.
func (l *ledger) newest() (epoch string, head uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epoch, l.head
}

// count returns the number of events that the filter selects.
func (l *ledger) count(f *filter) (n int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, topic := range f.topics {
		n += int64(len(l.sequences[topic]))
	}
	return n
}

func parseID(id string) (epoch string, sequence uint64, err error) {
	epoch, digits, _ := strings.Cut(id, "-")
	sequence, err = strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("malformed id %q", id)
	}
	return epoch, sequence, nil
}

// A filter has the topics and patterns of a client. It matches them with its own code, not with the code under test.
type filter struct {
	patterns []string
	topics   []int // that the filter matches
	has      []bool
}

func (l *ledger) filter(patterns ...string) *filter {
	f := &filter{patterns: patterns, has: make([]bool, len(l.names))}
	for i, name := range l.names {
		if slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) }) {
			f.has[i] = true
			f.topics = append(f.topics, i)
		}
	}
	return f
}

func matches(pattern, name string) bool {
	p, n := strings.Split(pattern, "."), strings.Split(name, ".")
	for i, token := range p {
		switch {
		case token == ">" && i == len(p)-1:
			return len(n) > i
		case i >= len(n), token != "*" && token != n[i]:
			return false
		}
	}
	return len(p) == len(n)
}
