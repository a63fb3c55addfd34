package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/jetstream"
)

// nodeCommand is the argument that starts this program as a node of the cluster demo. The address to listen on and the URLs
// of NATS follow.
const nodeCommand = "node"

// runNode serves the events of a NATS cluster until ctx is done.
func runNode(ctx context.Context, addr, urls string, stderr io.Writer) error {
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	conn, err := jetstream.Connect(urls)
	if err != nil {
		return err
	}
	defer conn.Close()
	opening, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	store, err := jetstream.Open(opening, conn, jetstream.Options{Replicas: clusterSize, Logger: logger})
	if err != nil {
		return err
	}
	broker := &server.Broker{Store: store}
	defer broker.Close()
	mux := http.NewServeMux()
	mux.Handle("/events", &server.Handler{Broker: broker, Authorize: permitReaders, Logger: logger})
	service, err := newService(ctx, &site{mux: mux, broker: broker}, addr, nil, logger)
	if err != nil {
		return err
	}
	return service.Run(ctx)
}

// permitReaders lets everyone subscribe, and clients with the demo's token publish.
func permitReaders(r *http.Request, access server.Access) (server.Grant, error) {
	if access.Action == server.ActionSubscribe {
		return server.Grant{}, nil
	}
	return server.BearerToken(demoToken)(r, access)
}
