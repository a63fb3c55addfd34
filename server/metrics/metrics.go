// Package metrics exports the statistics of a broker to Prometheus.
//
//	prometheus.MustRegister(metrics.NewCollector(broker))
//
// It is separate from package server so that programs without Prometheus do not link its client.
package metrics

import (
	"cmp"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// NewCollector returns a collector for the statistics and limits of a broker. It calls [server.Broker.Stats] once per
// scrape. To export several brokers, register each with its own label: see [prometheus.WrapRegistererWith].
func NewCollector(b *server.Broker) prometheus.Collector {
	return collector{b}
}

// NewTicketsCollector returns a collector for the number, memory and limit of used tickets.
func NewTicketsCollector(t *server.Tickets) prometheus.Collector { return ticketsCollector{t} }

type ticketsCollector struct{ tickets *server.Tickets }

var (
	usedTickets      = describe("used_tickets", "Used tickets that can still resume their streams.")
	usedTicketsBytes = describe("used_tickets_bytes", "Memory used by those tickets.")
	usedTicketsLimit = describe("used_tickets_limit_bytes", "Maximum memory for used tickets. Beyond it, the oldest can no longer resume.")
)

func (c ticketsCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- usedTickets
	descs <- usedTicketsBytes
	descs <- usedTicketsLimit
}

func (c ticketsCollector) Collect(metrics chan<- prometheus.Metric) {
	used, bytes := c.tickets.Used()
	gauge := func(desc *prometheus.Desc, value float64) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	gauge(usedTickets, float64(used))
	gauge(usedTicketsBytes, float64(bytes))
	gauge(usedTicketsLimit, limit(cmp.Or(c.tickets.MaxBytes, server.DefaultMaxTicketBytes)))
}

type collector struct{ broker *server.Broker }

func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range figures {
		descs <- f.desc
	}
	descs <- delivery
}

func (c collector) Collect(metrics chan<- prometheus.Metric) {
	stats := c.broker.Stats()
	for _, f := range figures {
		metrics <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(c.broker, stats))
	}
	metrics <- histogram(stats.Latency)
}

var delivery = describe("delivery_seconds", "Time from publication until the socket accepted the event. Excludes replayed events.")

// histogram converts the counts to cumulative ones.
func histogram(l server.Latency) prometheus.Metric {
	buckets, count := map[float64]uint64{}, uint64(0)
	for i, n := range l.Counts {
		if count += n; i < len(server.LatencyBounds) {
			buckets[server.LatencyBounds[i].Seconds()] = count
		}
	}
	return prometheus.MustNewConstHistogram(delivery, count, l.Sum.Seconds(), buckets)
}

// A figure is one metric.
type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*server.Broker, server.Stats) float64
}

var figures = []figure{
	gauge("connections", "Open streams.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Connections) }),
	gauge("connections_limit", "Maximum number of open streams. Further ones get 503.",
		func(b *server.Broker, _ server.Stats) float64 {
			return limit(cmp.Or(b.MaxConnections, server.DefaultMaxConnections))
		}),
	gauge("history_events", "Events kept for clients that reconnect.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Events) }),
	gauge("history_bytes", "Bytes of those events, as sent.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Bytes) }),
	counter("published_total", "Events accepted.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Published) }),
	counter("delivered_total", "Events written, counted once for each client.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Delivered) }),
	counter("gaps_total", "Gap events written because a client missed events.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Gaps) }),
	counter("lagged_total", "Times that a client exceeded the maximum lag.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Lagged) }),
	gauge("lag_bytes", "Bytes by which the slowest stream lags behind the newest event.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Lag) }),
	gauge("pinned_bytes", "Bytes of dropped history that slow clients keep in memory.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Pinned) }),
	gauge("filters", "Distinct topic filters of open streams.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Filters) }),
	gauge("encoders", "Topic filters whose streams are compressed.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Encoders) }),
	gauge("detached_connections", "Open streams without a goroutine.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Detached) }),
	counter("stalled_total", "Times that such a stream waited for its socket.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Stalled) }),
	counter("timed_out_total", "Streams closed because a write exceeded the write timeout.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.TimedOut) }),
	counter("replayed_total", "Events written that were published before their stream began.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Replayed) }),
	counter("written_bytes_total", "Bytes written to streams.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Written) }),
	gauge("store_up", "1 if the store reports new events or events are only in memory, 0 otherwise.",
		func(_ *server.Broker, s server.Stats) float64 {
			if s.Offline {
				return 0
			}
			return 1
		}),
	counter("unstored_total", "Publications that failed because the store was unavailable or full.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Unstored) }),
	gauge("topics", "Distinct topics with published events.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Topics) }),
	gauge("topics_limit", "Maximum number of distinct topics. Publications to further ones get 503.",
		func(b *server.Broker, _ server.Stats) float64 {
			return limit(cmp.Or(b.MaxDistinctTopics, server.DefaultMaxDistinctTopics))
		}),
	gauge("idempotency_keys", "Idempotency keys remembered.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.IdempotencyKeys) }),
	gauge("idempotency_bytes", "Memory used by those keys.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.IdempotencyBytes) }),
	gauge("idempotency_limit_bytes", "Maximum memory for idempotency keys. Publications with further keys get 503.",
		func(b *server.Broker, _ server.Stats) float64 {
			return limit(cmp.Or(b.IdempotencyMaxBytes, server.DefaultIdempotencyMaxBytes))
		}),
	gauge("body_bytes", "Memory used by request bodies that are being read or published.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.BodyBytes) }),
	gauge("body_limit_bytes", "Maximum memory for request bodies. Further ones get 503.",
		func(b *server.Broker, _ server.Stats) float64 {
			return limit(cmp.Or(b.MaxBodyBytesInFlight, server.DefaultMaxBodyBytesInFlight))
		}),
	counter("refused_total", "Publications refused because a limit on bodies, keys or topics was reached.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Refused) }),
}

func gauge(name, help string, value func(*server.Broker, server.Stats) float64) figure {
	return figure{describe(name, help), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(*server.Broker, server.Stats) float64) figure {
	return figure{describe(name, help), prometheus.CounterValue, value}
}

func describe(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("eventsource", "", name), help, nil, nil)
}

func limit[T int | int64](n T) float64 {
	if n < 0 {
		return math.Inf(1)
	}
	return float64(n)
}
