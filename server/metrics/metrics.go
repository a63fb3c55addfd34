// Package metrics shows a broker's figures to Prometheus.
//
//	prometheus.MustRegister(metrics.NewCollector(broker))
//
// Package server does without it, so that who has no Prometheus does not link its client.
package metrics

import (
	"cmp"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// NewCollector returns the figures of [server.Broker.Stats], read once for every scrape, and what limits them. To tell
// several brokers apart, register each under a label of its own with [prometheus.WrapRegistererWith].
func NewCollector(b *server.Broker) prometheus.Collector {
	return collector{b}
}

// NewTicketsCollector returns the figures of [server.Tickets.Used], and what limits them.
func NewTicketsCollector(t *server.Tickets) prometheus.Collector { return ticketsCollector{t} }

type ticketsCollector struct{ tickets *server.Tickets }

var (
	usedTickets      = describe("used_tickets", "Used tickets that are remembered, so that their streams can resume.")
	usedTicketsBytes = describe("used_tickets_bytes", "Memory of those tickets.")
	usedTicketsLimit = describe("used_tickets_limit_bytes", "Memory that used tickets may take; beyond that, the oldest can no longer resume.")
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

var delivery = describe("delivery_seconds", "From the publication of an event until the system had taken it for a client. History does not count.")

// histogram adds the counts up, as Prometheus has it.
func histogram(l server.Latency) prometheus.Metric {
	buckets, count := map[float64]uint64{}, uint64(0)
	for i, n := range l.Counts {
		if count += n; i < len(server.LatencyBounds) {
			buckets[server.LatencyBounds[i].Seconds()] = count
		}
	}
	return prometheus.MustNewConstHistogram(delivery, count, l.Sum.Seconds(), buckets)
}

// A figure is one of the metrics.
type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*server.Broker, server.Stats) float64
}

var figures = []figure{
	gauge("connections", "Streams that are open.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Connections) }),
	gauge("connections_limit", "Streams that may be open; further ones are answered 503.",
		func(b *server.Broker, _ server.Stats) float64 {
			return limit(cmp.Or(b.MaxConnections, server.DefaultMaxConnections))
		}),
	gauge("history_events", "Events kept for those who come back.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Events) }),
	gauge("history_bytes", "Bytes of the events kept, as on the wire.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Bytes) }),
	counter("published_total", "Events accepted.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Published) }),
	counter("delivered_total", "Events written, counted once for each client.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Delivered) }),
	counter("gaps_total", "Gap events written: a client asked for what is no longer kept, or was overtaken.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Gaps) }),
	counter("lagged_total", "Times that a client was ended, or skipped, for lagging too far.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Lagged) }),
	gauge("lag_bytes", "Bytes of history by which the stream that is furthest behind lags.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Lag) }),
	gauge("pinned_bytes", "Bytes of dropped history that slow clients keep from being released.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Pinned) }),
	gauge("filters", "Distinct sets of topics that streams are open for.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Filters) }),
	gauge("encoders", "Sets of topics whose streams are compressed.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Encoders) }),
	gauge("detached_connections", "Streams that are open and have no goroutine.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Detached) }),
	counter("stalled_total", "Times that such a stream waited until its socket had room.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Stalled) }),
	counter("timed_out_total", "Streams given up because their client took too long to read.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.TimedOut) }),
	counter("replayed_total", "Of the events written, those that had been published before their stream began.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Replayed) }),
	counter("written_bytes_total", "Bytes written to streams.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Written) }),
	gauge("store_up", "1 while the store tells what is new, or if memory is the store; else 0.",
		func(_ *server.Broker, s server.Stats) float64 {
			if s.Offline {
				return 0
			}
			return 1
		}),
	counter("unstored_total", "Publications that failed for want of the store.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Unstored) }),
	gauge("topics", "Distinct topics that are published to.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.Topics) }),
	gauge("topics_limit", "Distinct topics that may be published to; further ones are answered 503.",
		func(b *server.Broker, _ server.Stats) float64 {
			return limit(cmp.Or(b.MaxDistinctTopics, server.DefaultMaxDistinctTopics))
		}),
	gauge("idempotency_keys", "Idempotency keys that are remembered.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.IdempotencyKeys) }),
	gauge("idempotency_bytes", "Memory of those keys.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.IdempotencyBytes) }),
	gauge("idempotency_limit_bytes", "Memory that keys may take; publications with further ones are answered 503.",
		func(b *server.Broker, _ server.Stats) float64 {
			return limit(cmp.Or(b.IdempotencyMaxBytes, server.DefaultIdempotencyMaxBytes))
		}),
	gauge("body_bytes", "Memory of the bodies that are being read and published.",
		func(_ *server.Broker, s server.Stats) float64 { return float64(s.BodyBytes) }),
	gauge("body_limit_bytes", "Memory that bodies may take; further ones are answered 503.",
		func(b *server.Broker, _ server.Stats) float64 {
			return limit(cmp.Or(b.MaxBodyBytesInFlight, server.DefaultMaxBodyBytesInFlight))
		}),
	counter("refused_total", "Publications refused because a bound on bodies, keys or topics was reached.",
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
