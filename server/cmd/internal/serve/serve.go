// Package serve runs the HTTP servers of the commands in server/cmd. It listens, serves health checks, and shuts down
// gracefully.
package serve

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// Timeouts against slow and silent clients. They do not apply to streams, for which package server sets its own.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// ExitAtOnce is the exit code of a program that did not wait for its streams.
const ExitAtOnce = 3

// UntilSignal returns a context that is canceled by the first SIGINT or SIGTERM. The second one exits the program.
func UntilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(ExitAtOnce)
	}()
	return ctx
}

// NewServer returns an HTTP/1.1 server with the timeouts and limits of all commands.
func NewServer(routes http.Handler, logger *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           routes,
		Protocols:         &http.Protocols{},
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	s.Protocols.SetHTTP1(true)
	return s
}

// An Endpoint is a server and its listener. The zero Endpoint is unused.
type Endpoint struct {
	*http.Server
	Listener net.Listener
}

func (e Endpoint) serve() error {
	if e.Listener.Addr().Network() == "unix" {
		e.Handler = asLoopback(e.Handler)
	}
	if e.TLSConfig != nil {
		return e.ServeTLS(e.Listener, "", "")
	}
	return e.Serve(e.Listener)
}

// Close stops serving and listening at once.
func (e Endpoint) Close() error {
	if e.Server == nil {
		return nil
	}
	e.Listener.Close() // the server closes only listeners that it serves
	return e.Server.Close()
}

// A Service has the endpoints of a program and their broker.
type Service struct {
	Broker *server.Broker
	Logger *slog.Logger
	Health *Health

	Main  Endpoint // with the streams
	Admin Endpoint // serves until the streams have ended; may be zero

	Drain time.Duration // window over which the streams end at shutdown; zero means at once
	Grace time.Duration // time for other requests after that

	// Tasks run from the start until ctx is done.
	Tasks []func(context.Context)
}

// Run serves until ctx is done and the streams have ended, or until an endpoint fails.
func (s *Service) Run(ctx context.Context) error {
	failed := make(chan error, 2)
	var running sync.WaitGroup
	defer running.Wait()
	working, stop := context.WithCancel(ctx)
	defer stop()
	for _, e := range []Endpoint{s.Main, s.Admin} {
		if e.Server != nil {
			running.Go(func() { failed <- e.serve() })
			defer e.Close()
		}
	}
	for _, task := range s.Tasks {
		running.Go(func() { task(working) })
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return s.shutDown(context.WithoutCancel(ctx))
	}
}

// shutDown first reports that the server is not ready, drains its streams, and rejects new ones. Then it stops
// listening.
func (s *Service) shutDown(ctx context.Context) error {
	s.Logger.Info("draining", "streams", s.Broker.Stats().Connections, "over", s.Drain.String())
	s.Health.draining.Store(true)
	s.drain(ctx)
	s.Logger.Info("shutting down")
	deadline, cancel := context.WithTimeout(ctx, s.Grace)
	defer cancel()
	defer s.Broker.Close()
	if err := s.Main.Shutdown(deadline); err != nil {
		s.Logger.Warn("closing the requests that are still open", "error", err)
		return s.Main.Close()
	}
	return nil
}

// drain disconnects the streams that have not ended after the window and the grace period: their clients do not read.
func (s *Service) drain(ctx context.Context) {
	deadline, cancel := context.WithTimeout(ctx, s.Drain+s.Grace)
	defer cancel()
	if err := s.Broker.Drain(deadline, s.Drain); err != nil {
		s.Logger.Warn("disconnecting the streams that are still open", "streams", s.Broker.Stats().Connections, "error", err)
		s.Broker.DisconnectAll()
	}
}
