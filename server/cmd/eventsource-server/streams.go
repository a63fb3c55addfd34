package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// A site is what is served at -addr.
type site struct {
	mux    *http.ServeMux
	broker *server.Broker

	feed    func(context.Context) // publishes on the site's own account until the context is done; may be nil
	sources []source
}

// newStreams returns the streams of production: /events, and nothing else.
func newStreams(ctx context.Context, c *config, logger *slog.Logger) (*site, error) {
	access, err := newAccess(ctx, c)
	if err != nil {
		return nil, err
	}
	h := &c.handler
	h.Broker, h.Authorize, h.Logger = &c.broker, access.authorize, logger
	mux := http.NewServeMux()
	mux.Handle("/events", h)
	return &site{mux: mux, broker: &c.broker, sources: access.sources}, nil
}
