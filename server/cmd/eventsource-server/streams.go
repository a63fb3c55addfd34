package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// A site serves -addr.
type site struct {
	mux    *http.ServeMux
	broker *server.Broker

	sources []source
	close   func()       // closes the broker and its store; may be nil
	ready   func() error // returns an error while the server should get no clients; may be nil
}

// otherDescriptors is the number of file descriptors for everything but streams.
const otherDescriptors = 100

// warnOfDescriptors logs a warning if -max-connections exceeds the file descriptors: further clients would wait instead
// of getting a 503.
func warnOfDescriptors(streams int, limit uint64, logger *slog.Logger) {
	if streams >= 0 && uint64(streams)+otherDescriptors > limit {
		logger.Warn("file descriptor limit is too low for -max-connections: raise it (ulimit -n, LimitNOFILE), or lower the flag",
			"descriptors", limit, "needed", streams+otherDescriptors)
	}
}

// newStreams returns the production routes.
func newStreams(ctx context.Context, c *config, logger *slog.Logger) (*site, error) {
	access, err := newAccess(ctx, c, logger)
	if err != nil {
		return nil, err
	}
	warnOfDescriptors(c.broker.MaxConnections, openFilesLimit(), logger)
	store, err := c.store.open(ctx, &c.broker, logger)
	if err != nil {
		return nil, fmt.Errorf("-store: %w", err)
	}
	h := &c.handler
	h.Broker, h.Authorize, h.Logger = &c.broker, c.publish.before(access.authorize, h), logger
	mux := http.NewServeMux()
	mux.Handle("/events", h)
	if h.Tickets = c.tickets.tickets(); h.Tickets != nil {
		mux.HandleFunc("/ticket", h.ServeTicket)
	}
	if c.demo {
		newDemo(c.public, embeddedClient()).register(mux, logger)
	}
	return &site{mux: mux, broker: &c.broker, sources: access.sources, close: store.close, ready: store.ready}, nil
}
