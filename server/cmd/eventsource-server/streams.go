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

// newStreams returns the streams of production, and nothing else.
func newStreams(ctx context.Context, c *config, logger *slog.Logger) (*site, error) {
	access, err := newAccess(ctx, c, logger)
	if err != nil {
		return nil, err
	}
	h := &c.handler
	h.Broker, h.Authorize, h.Logger = &c.broker, c.publish.before(access.authorize, h), logger
	mux := http.NewServeMux()
	mux.Handle("/events", h)
	if c.tickets {
		h.Tickets = &server.Tickets{}
		mux.HandleFunc("/ticket", h.ServeTicket)
	}
	return &site{mux: mux, broker: &c.broker, sources: access.sources}, nil
}
