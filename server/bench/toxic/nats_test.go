package toxic_test

import (
	"log/slog"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/jetstream"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// Whatever fails in the network between a node and NATS, the clients of the node receive every event that another node
// publishes, once and in order. Their streams stay open.
func TestNATSNetworkFaults(t *testing.T) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	for _, fault := range []fault{
		{name: "latency", toxic: `{"type": "latency", "attributes": {"latency": 20, "jitter": 20}}`},
		{name: "small pieces", toxic: `{"type": "slicer", "attributes": {"average_size": 7, "size_variation": 5, "delay": 10}}`},
		{name: "reset", toxic: `{"type": "reset_peer", "attributes": {"timeout": 0}}`, breaks: true},
		{name: "half-open", toxic: `{"type": "timeout", "attributes": {"timeout": 0}}`, breaks: true},
		{name: "deaf", toxic: `{"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`, breaks: true},
		{name: "closed after some bytes", toxic: `{"type": "limit_data", "attributes": {"bytes": 1000}}`, breaks: true},
	} {
		t.Run(fault.name, fault.testNATS)
	}
}

func (f fault) testNATS(t *testing.T) {
	ns, err := nats.NewServer(&nats.Options{Host: "127.0.0.1", Port: nats.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	defer ns.WaitForShutdown()
	defer ns.Shutdown()
	if !ns.ReadyForConnections(generous) {
		t.Fatal("the NATS server is not ready")
	}
	proxy := startProxy(t, ns.Addr().String())
	defer proxy.Stop()
	publisher, closePublisher := brokerOn(t, ns.ClientURL())
	defer closePublisher()
	broker, closeBroker := brokerOn(t, "nats://"+proxy.Listen, natsgo.PingInterval(100*time.Millisecond), natsgo.IgnoreDiscoveredServers())
	defer closeBroker()
	origin := httptest.NewServer(&server.Handler{Broker: broker, Heartbeat: heartbeat, Logger: slog.New(slog.DiscardHandler)})
	defer origin.Close()

	crowd := newCrowd(t, origin.URL)
	defer crowd.stop()
	crowd.await(func() bool { return slices.Min(crowd.received[:]) >= 0 })
	published := 0
	publish := func() {
		t.Helper()
		for range 50 {
			published++
			if _, err := publisher.Publish(t.Context(), "t", sse.Event{Data: strconv.Itoa(published)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		publish()
		if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(f.toxic)); err != nil {
			t.Fatal(err)
		}
		publish()
		if f.breaks {
			awaitOffline(t, broker)
		}
		publish()
		proxy.Toxics.ResetToxics(t.Context())
		crowd.await(func() bool { return slices.Min(crowd.received[:]) == published })
	}
}

func awaitOffline(t *testing.T, broker *server.Broker) {
	t.Helper()
	for deadline := time.Now().Add(generous); !broker.Stats().Offline; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the node does not report that it is offline")
		}
	}
}

func brokerOn(t *testing.T, url string, options ...natsgo.Option) (broker *server.Broker, end func()) {
	t.Helper()
	conn, err := jetstream.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	store, err := jetstream.Open(t.Context(), conn, jetstream.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	broker = &server.Broker{Store: store}
	return broker, func() {
		broker.Close()
		conn.Close()
	}
}
