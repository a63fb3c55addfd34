package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/filestore"
	"github.com/eventsource-wasm/eventsource-wasm/server/jetstream"
)

const inMemory = "memory"

// A storeSite has the flags about the store.
type storeSite struct {
	where       string // memory, file:DIR, or URLs of NATS
	credentials string
	fsync       string
	sync        time.Duration // the value of fsync
	options     jetstream.Options
}

func (s *storeSite) flags(f *flag.FlagSet) {
	o := &s.options
	f.StringVar(&s.where, "store", inMemory, "`where` events are kept: memory, file:DIR, or comma-separated URLs of a NATS cluster; put a URL with a password in $EVENTSOURCE_STORE")
	f.StringVar(&s.credentials, "store-credentials", "", "`file` with the NATS credentials")
	f.StringVar(&s.fsync, "store-fsync", filestore.DefaultSync.String(), "`interval` between syncs of file:DIR, or always")
	f.StringVar(&o.Name, "store-name", jetstream.DefaultName, "`name` of the stream; servers with the same name share their events")
	f.IntVar(&o.Replicas, "store-replicas", 1, "`number` of NATS servers that hold the events")
	f.Int64Var(&o.MaxEvents, "store-events", -1, "`number` of events kept in -store; -1 means no limit")
	f.Int64Var(&o.MaxEventsPerTopic, "store-events-per-topic", -1, "`number` of events kept per topic; -1 means no limit")
	f.Int64Var(&o.MaxBytes, "store-bytes", jetstream.DefaultMaxBytes, "`bytes` of events kept on disk; -1 means no limit")
	f.DurationVar(&o.MaxAge, "store-age", jetstream.DefaultMaxAge, "`duration` for which events are kept; -1s means no limit")
}

func (s *storeSite) folder() (dir string, is bool) { return strings.CutPrefix(s.where, "file:") }

func (s *storeSite) inNATS() bool {
	return strings.HasPrefix(s.where, "nats://") || strings.HasPrefix(s.where, "tls://")
}

// validate does not repeat the value of -store, which may contain a password.
func (s *storeSite) validate(given map[string]bool) (err error) {
	dir, inFolder := s.folder()
	switch {
	case inFolder && dir == "", !inFolder && !s.inNATS() && s.where != inMemory:
		return errors.New("-store must be memory, file:DIR, or URLs that begin with nats:// or tls://")
	case s.where == inMemory && givenOf(given, "store-") != "":
		return errors.New("-" + givenOf(given, "store-") + " requires -store file:DIR or -store nats://…")
	case !inFolder && given["store-fsync"]:
		return errors.New("-store-fsync requires -store file:DIR: for NATS, set sync_interval in its servers")
	case !s.inNATS() && (given["store-replicas"] || given["store-credentials"]):
		return errors.New("-store-replicas and -store-credentials require -store nats://…")
	case s.options.Replicas < 1 || s.options.Replicas > 5:
		return errors.New("-store-replicas must be from 1 to 5")
	}
	if s.sync = -1; s.fsync != "always" {
		s.sync, err = time.ParseDuration(s.fsync)
	}
	if err != nil || s.sync == 0 || s.sync < -1 {
		return errors.New("-store-fsync must be a duration such as 250ms, or always")
	}
	return nil
}

func givenOf(given map[string]bool, prefix string) string {
	for name := range given {
		if strings.HasPrefix(name, prefix) {
			return name
		}
	}
	return ""
}

// An openStore is the opened store of the broker.
type openStore struct {
	close func()       // closes the broker and the store
	ready func() error // why the store cannot be used right now; nil if it can
}

func alwaysReady() error { return nil }

// open opens the store of the broker. A folder is read and verified before open returns. NATS may be unavailable.
func (s *storeSite) open(ctx context.Context, broker *server.Broker, logger *slog.Logger) (openStore, error) {
	switch dir, inFolder := s.folder(); {
	case inFolder:
		return s.openFolder(ctx, dir, broker, logger)
	case s.inNATS():
		return s.openNATS(ctx, broker, logger)
	}
	return openStore{broker.Close, alwaysReady}, nil
}

func (s *storeSite) openFolder(ctx context.Context, dir string, broker *server.Broker, logger *slog.Logger) (openStore, error) {
	store, err := filestore.Open(ctx, filestore.Options{
		Dir:               dir,
		Sync:              s.sync,
		MaxAge:            s.options.MaxAge,
		MaxBytes:          s.options.MaxBytes,
		MaxEvents:         s.options.MaxEvents,
		MaxEventsPerTopic: s.options.MaxEventsPerTopic,
		Logger:            logger,
	})
	if err != nil {
		return openStore{}, err
	}
	broker.Store = store
	return openStore{func() {
		broker.Close()
		if err := store.Close(); err != nil {
			logger.Error("cannot close the store", "error", err)
		}
	}, alwaysReady}, nil
}

func (s *storeSite) openNATS(ctx context.Context, broker *server.Broker, logger *slog.Logger) (openStore, error) {
	o := s.options
	o.Logger, o.Lazy = logger, true
	conn, err := jetstream.Connect(s.where, s.connection(logger)...)
	if err != nil {
		return openStore{}, err
	}
	store, err := jetstream.Open(ctx, conn, o)
	if err != nil {
		conn.Close()
		return openStore{}, err
	}
	broker.Store = store
	return openStore{func() {
		broker.Close()
		conn.Close()
	}, func() error {
		broker.Stats() // the first call starts following the store
		return store.Err()
	}}, nil
}

// connection returns the NATS options of this program. It logs names of servers, because URLs may contain passwords.
func (s *storeSite) connection(logger *slog.Logger) (options []nats.Option) {
	if s.credentials != "" {
		options = append(options, nats.UserCredentials(s.credentials))
	}
	return append(options,
		nats.RetryOnFailedConnect(true),
		nats.ConnectHandler(func(c *nats.Conn) {
			logger.Info("connected to NATS", "server", c.ConnectedServerName())
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			logger.Warn("disconnected from NATS", "error", cmp.Or(err, nats.ErrConnectionClosed))
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			logger.Info("reconnected to NATS", "server", c.ConnectedServerName())
		}))
}
