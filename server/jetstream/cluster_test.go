//go:build unix

package jetstream_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/jetstream"
)

var (
	clusterEvents  = flag.Int("cluster-events", 6_000, "`number` of events in TestCluster")
	clusterClients = flag.Int("cluster-clients", 30, "`number` of clients in TestCluster")
	clusterFaults  = flag.Int("cluster-faults", 5, "`number` of faults in TestCluster")
)

// topics is the number of topics. Each has its own publisher. Every client follows one topic, except every tenth client, which
// follows all.
const topics = 10

// While NATS servers are killed and stopped, and nodes are replaced, every client that moves between nodes gets every
// event once and in order: by topic, and across topics by the sequence in the ids. Publishers repeat unacknowledged
// events at another node with the same key.
func TestCluster(t *testing.T) {
	c := &clusterTest{T: t, servers: startServers(t, 3), perTopic: *clusterEvents / topics}
	c.ctx, c.cancel = context.WithTimeout(t.Context(), 10*time.Minute+time.Duration(*clusterEvents/200)*time.Second)
	defer c.cancel()
	for range c.nodes {
		c.replaceNode()
	}
	state, err := c.state()
	if err != nil {
		t.Fatal(err)
	}
	c.epoch = state.Epoch
	var working sync.WaitGroup
	for i := range *clusterClients {
		working.Go(func() { c.follow(i) })
	}
	for i := range topics {
		working.Go(func() { c.publish(i) })
	}
	for i := range *clusterFaults {
		c.fault(i)
	}
	working.Wait()
	if c.ctx.Err() != nil {
		t.Error("timed out")
	}
	for state, err = c.state(); err != nil && c.ctx.Err() == nil; state, err = c.state() { // servers may still be starting
		<-time.After(10 * time.Millisecond)
	}
	if err != nil || state.Last != uint64(c.perTopic*topics) || state.Epoch != c.epoch {
		t.Errorf("the stream has %+v, %v", state, err)
	}
	t.Logf("%d events, %d clients, %d faults: %d deliveries in %d streams, %d attempts to publish; %d lost, %d duplicated or out of order, %d gaps",
		c.perTopic*topics, *clusterClients, *clusterFaults, c.delivered.Load(), c.streams.Load(), c.posts.Load(),
		c.lost.Load(), c.late.Load(), c.gaps.Load())
}

type clusterTest struct {
	*testing.T
	ctx      context.Context
	cancel   context.CancelFunc
	servers  []*natsServer
	nodes    [3]atomic.Pointer[node]
	replaced int
	perTopic int
	epoch    string
	allowed  atomic.Int64 // number of events that may be published per topic so far, to spread them over the faults

	acknowledged, delivered, streams, posts, lost, late, gaps atomic.Int64
}

// replaceNode stops a node and starts another one.
func (c *clusterTest) replaceNode() {
	place := &c.nodes[c.replaced%len(c.nodes)]
	c.replaced++
	if old := place.Load(); old != nil {
		old.stop()
	}
	broker := &server.Broker{MaxEvents: 500, MaxConnections: -1} // so that clients often read from the stream
	place.Store(startNode(c.T, c.servers, jetstream.Options{Replicas: 3, Timeout: 3 * time.Second}, broker, time.Second))
}

func (c *clusterTest) state() (server.StoreState, error) { return c.nodes[0].Load().store.State(c.ctx) }

func (c *clusterTest) url(n int) string { return c.nodes[n%len(c.nodes)].Load().url }

// await waits until that many events are acknowledged.
func (c *clusterTest) await(events int) {
	for c.acknowledged.Load() < int64(events) && c.ctx.Err() == nil && !c.Failed() {
		<-time.After(time.Millisecond)
	}
}

// fault begins a fault after a third of its share of the events, and ends it after another third.
func (c *clusterTest) fault(i int) {
	from, to := c.perTopic*i / *clusterFaults, c.perTopic*(i+1) / *clusterFaults
	third := (to - from) * topics / 3
	c.allowed.Store(int64(to))
	c.await(from*topics + third)
	victim := c.servers[rand.IntN(len(c.servers))]
	switch i % 4 {
	case 0:
		victim.kill()
		c.await(from*topics + 2*third)
		victim.start(c.T)
	case 1:
		victim.signal(c.T, syscall.SIGSTOP)
		c.await(from*topics + 2*third)
		victim.signal(c.T, syscall.SIGCONT)
	case 2:
		c.replaceNode()
	case 3: // all of them
		for _, s := range c.servers {
			s.kill()
		}
		for _, s := range c.servers {
			s.start(c.T)
		}
	}
	c.await(to * topics)
	c.Logf("fault %d, %d of %d events acknowledged", i, c.acknowledged.Load(), c.perTopic*topics)
}

// publish publishes the numbers from 1 on to a topic, singly or in batches, and repeats each until it is acknowledged.
func (c *clusterTest) publish(topic int) {
	for next := 1; next <= c.perTopic && c.ctx.Err() == nil && !c.Failed(); {
		n := min(1+rand.IntN(20), int(c.allowed.Load())-next+1)
		if n <= 0 {
			<-time.After(time.Millisecond)
			continue
		}
		var body strings.Builder
		for i := range n {
			fmt.Fprintf(&body, `{"topic":"t.%d","data":"%d"}`+"\n", topic, next+i)
		}
		key := fmt.Sprintf("%d from %d", topic, next)
		for attempt := topic; c.ctx.Err() == nil; attempt++ {
			c.posts.Add(1)
			status, header, err := post(c.ctx, c.url(attempt), key, body.String())
			if err == nil && status == http.StatusCreated {
				break
			}
			if err == nil && (status != http.StatusServiceUnavailable || header.Get("Retry-After") == "") {
				c.Errorf("publishing: status %d, %v", status, header)
				return
			}
			<-time.After(10 * time.Millisecond)
		}
		next += n
		c.acknowledged.Add(int64(n))
	}
}

// follow is a client that moves to another node whenever its stream ends, and at random moments.
func (c *clusterTest) follow(i int) {
	f := &follower{id: c.epoch + "-0", goal: c.perTopic}
	query := fmt.Sprintf("?topic=t.%d", i%topics)
	if i%10 == 0 {
		query, f.goal, f.all = "", c.perTopic*topics, true
	}
	for n := i; f.last < f.goal && c.ctx.Err() == nil && !c.Failed(); n++ {
		c.stream(f, c.url(n)+query)
	}
}

// A follower is the state of a client.
type follower struct {
	id   string
	last int // number of its last event
	goal int
	all  bool
}

func (c *clusterTest) stream(f *follower, url string) {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		c.Error(err)
		return
	}
	request.Header.Set("Last-Event-ID", f.id)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusOK {
		if err == nil {
			response.Body.Close()
		}
		<-time.After(10 * time.Millisecond)
		return
	}
	defer response.Body.Close()
	c.streams.Add(1)
	if gap := response.Header.Get("Event-Gap"); gap != "" {
		c.gaps.Add(1)
		c.Errorf("a client with %s gets the gap %q", f.id, gap)
	}
	stay := 1 + rand.IntN(f.goal)
	var id, data string
	for lines := bufio.NewScanner(response.Body); f.last < f.goal && stay > 0 && !c.Failed() && lines.Scan(); {
		switch name, value, _ := strings.Cut(lines.Text(), ": "); {
		case name == "id":
			id = value
		case name == "data":
			data = value
		case lines.Text() == "" && data != "":
			c.receive(f, id, data)
			data = ""
			stay--
			fallthrough
		case lines.Text() == "" && id != "": // the stream's position, without an event for this client
			f.id = id
		}
	}
}

// receive checks an event: by its data for one topic, and by its sequence for all topics.
func (c *clusterTest) receive(f *follower, id, data string) {
	if f.all {
		_, data, _ = strings.Cut(id, "-")
	}
	number, err := strconv.Atoi(data)
	c.delivered.Add(1)
	switch {
	case err != nil:
		c.Errorf("event %s has the data %q", id, data)
		return
	case number > f.last+1:
		c.lost.Add(int64(number - f.last - 1))
		c.Errorf("%d follows %d, with the id %s after %s", number, f.last, id, f.id)
	case number <= f.last:
		c.late.Add(1)
		c.Errorf("%d follows %d, with the id %s after %s", number, f.last, id, f.id)
		return
	}
	f.last = number
}
