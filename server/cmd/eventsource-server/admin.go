package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/serve"
	"github.com/eventsource-wasm/eventsource-wasm/server/metrics"
)

// maxScrapes bounds the scrapes served at a time, and checkTimeout how long -healthcheck waits.
const (
	maxScrapes   = 4
	checkTimeout = 5 * time.Second
)

// adminRoutes returns the routes for operators.
func adminRoutes(c *config, h *serve.Health, broker *server.Broker, logger *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.NewCollector(broker), buildInfo(), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if c.handler.Tickets != nil {
		registry.MustRegister(metrics.NewTicketsCollector(c.handler.Tickets))
	}
	mux := http.NewServeMux()
	h.Register(mux)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(logger.Handler(), slog.LevelError),
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	}))
	if c.pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound) // it may hold a token
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func buildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "eventsource_build_info",
		Help:        "1, with the version of the server.",
		ConstLabels: prometheus.Labels{"version": version()},
	}, func() float64 { return 1 })
}

// checkHealth requests /healthz of the running server with the same configuration. It does not verify the certificate,
// which is for the server's public name, and sends no secrets.
func checkHealth(ctx context.Context, c *config) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	client, host := serve.Client(cmp.Or(c.admin, c.addr))
	client.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	u := url.URL{Scheme: "http", Host: host, Path: "/healthz"}
	if c.admin == "" && c.encrypted() {
		u.Scheme = "https"
	}
	if len(c.acme.domains) > 0 {
		client.TLSClientConfig.ServerName = c.acme.domains[0]
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	response, err := client.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s returned %s", cmp.Or(c.admin, c.addr), response.Status)
	}
	return nil
}
