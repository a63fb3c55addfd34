package metrics_test

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/metrics"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// gathered returns the values by name, of metrics that have no labels.
func gathered(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		metric := family.GetMetric()[0]
		values[family.GetName()] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
	}
	return values
}

func TestCollector(t *testing.T) {
	broker := &server.Broker{MaxEvents: 2, MaxConnections: -1, IdempotencyMaxBytes: 256}
	h := &server.Handler{Broker: broker, OpenPublish: true, Tickets: &server.Tickets{}, Logger: slog.New(slog.DiscardHandler)}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewCollector(broker), metrics.NewTicketsCollector(h.Tickets))
	events := httptest.NewServer(h)
	defer events.Close()
	defer events.CloseClientConnections()

	const block = "id: epoch-1\ndata: 1\n\n" // the real epoch has eight characters
	post := func(serve http.HandlerFunc, key string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("topic=news&data=1"))
		r.RemoteAddr = "@" // without an address, keys are not charged to a client
		r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Idempotency-Key": {key}}
		answer := httptest.NewRecorder()
		serve(answer, r)
		return answer
	}
	if first, second := post(h.ServeHTTP, "a").Code, post(h.ServeHTTP, "b").Code; first != http.StatusCreated || second != http.StatusServiceUnavailable {
		t.Fatalf("status %d, and %d for a second key", first, second)
	}
	for _, data := range []string{"2", "3"} {
		if _, err := broker.Publish(t.Context(), "news", sse.Event{Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	var issued struct{ Ticket string }
	if err := json.Unmarshal(post(h.ServeTicket, "").Body.Bytes(), &issued); err != nil {
		t.Fatal(err)
	}
	request, _ := http.NewRequest(http.MethodGet, events.URL+"?ticket="+issued.Ticket, nil)
	request.Header.Set("Last-Event-ID", "another-1")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan() && lines.Text() != "data: 3"; {
	}
	if _, err := broker.Publish(t.Context(), "news", sse.Event{Data: "4"}); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(response.Body); lines.Scan() && lines.Text() != "data: 4"; {
	}

	got := gathered(t, registry)
	for name, want := range map[string]float64{
		"eventsource_connections":     1,
		"eventsource_history_events":  2,
		"eventsource_history_bytes":   2 * float64(len(block)+len("12345678")-len("epoch")),
		"eventsource_published_total": 4,
		"eventsource_gaps_total":      1,
		"eventsource_lagged_total":    0,
		"eventsource_stalled_total":   0,
		"eventsource_timed_out_total": 0,
		"eventsource_replayed_total":  2,

		"eventsource_topics":                   1,
		"eventsource_topics_limit":             100_000,
		"eventsource_idempotency_keys":         1,
		"eventsource_idempotency_bytes":        256,
		"eventsource_idempotency_limit_bytes":  256,
		"eventsource_body_bytes":               0,
		"eventsource_body_limit_bytes":         64 << 20,
		"eventsource_refused_total":            1,
		"eventsource_used_tickets":             1,
		"eventsource_used_tickets_bytes":       256,
		"eventsource_used_tickets_limit_bytes": 16 << 20,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	// An event is counted when its write has returned, which may be after the client has read it.
	if delivered := got["eventsource_delivered_total"]; delivered < 2 || delivered > 3 {
		t.Errorf("eventsource_delivered_total is %v", delivered)
	}
}

// A live event is counted in every bucket with a large enough bound.
func TestDeliverySeconds(t *testing.T) {
	broker := &server.Broker{}
	events := httptest.NewServer(&server.Handler{Broker: broker, Logger: slog.New(slog.DiscardHandler)})
	defer events.Close()
	defer events.CloseClientConnections()
	response, err := http.Get(events.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := broker.Publish(t.Context(), "news", sse.Event{Data: "live"}); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(response.Body); lines.Scan() && lines.Text() != "data: live"; {
	}
	broker.Close()
	io.Copy(io.Discard, response.Body) // the event is counted before the end is written

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewCollector(broker))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "eventsource_delivery_seconds" {
			continue
		}
		h, last := family.GetMetric()[0].GetHistogram(), uint64(0)
		for _, b := range h.GetBucket() {
			if want := uint64(1); b.GetCumulativeCount() < last || b.GetUpperBound() > h.GetSampleSum() && b.GetCumulativeCount() != want {
				t.Errorf("%d events within %v s, sum %v s", b.GetCumulativeCount(), b.GetUpperBound(), h.GetSampleSum())
			}
			last = b.GetCumulativeCount()
		}
		if h.GetSampleCount() != 1 || h.GetSampleSum() <= 0 || len(h.GetBucket()) != len(server.LatencyBounds) {
			t.Errorf("got %v", h)
		}
		return
	}
	t.Error("no histogram")
}

func TestConnectionsLimit(t *testing.T) {
	for limit, want := range map[int]string{0: "10000", 5: "5", -1: "+Inf"} {
		collector := metrics.NewCollector(&server.Broker{MaxConnections: limit})
		text := "# HELP eventsource_connections_limit Maximum number of open streams. Further ones get 503.\n" +
			"# TYPE eventsource_connections_limit gauge\neventsource_connections_limit " + want + "\n"
		if err := testutil.CollectAndCompare(collector, strings.NewReader(text), "eventsource_connections_limit"); err != nil {
			t.Error(err)
		}
	}
}

func TestNamesFollowConventions(t *testing.T) {
	for _, collector := range []prometheus.Collector{metrics.NewCollector(&server.Broker{}), metrics.NewTicketsCollector(&server.Tickets{})} {
		problems, err := testutil.CollectAndLint(collector)
		if err != nil || len(problems) > 0 {
			t.Errorf("CollectAndLint = %v, %v; want no problems", problems, err)
		}
	}
}
