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

type collector struct{ broker *server.Broker }

func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range figures {
		descs <- f.desc
	}
}

func (c collector) Collect(metrics chan<- prometheus.Metric) {
	stats := c.broker.Stats()
	for _, f := range figures {
		metrics <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(c.broker, stats))
	}
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

func limit(n int) float64 {
	if n < 0 {
		return math.Inf(1)
	}
	return float64(n)
}
