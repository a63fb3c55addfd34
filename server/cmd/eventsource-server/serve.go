package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// Streams are exempt from the timeouts that a server needs against slow and silent clients: package server sets its own.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10

	profileTimeout = 5 * time.Minute // a profile takes as long as it is asked to
)

// A program is all that listens.
type program struct {
	config *config
	logger *slog.Logger
	site   *site
	url    string // of the site

	health      health
	sources     []source
	main, admin endpoint
}

// An endpoint is a server and what it listens on. The zero endpoint is none.
type endpoint struct {
	*http.Server
	listener net.Listener
}

// serve ends when the endpoint is shut down.
func (e endpoint) serve() error {
	if e.TLSConfig != nil {
		return e.ServeTLS(e.listener, "", "")
	}
	return e.Serve(e.listener)
}

// listen opens what serve is going to serve, so that all that can be wrong with it is known before anyone is told.
func (p *program) listen(ctx context.Context) (err error) {
	secure, sources, err := newTLS(ctx, p.config, p.logger)
	if err != nil {
		return err
	}
	p.sources = append(sources, p.site.sources...)
	p.health.ready = p.site.ready
	p.health.register(p.site.mux)
	p.main.Server = p.server(p.site.mux, secure)
	if p.main.listener, err = p.config.listen(ctx, p.config.addr, "-addr"); err != nil {
		return err
	}
	p.url = publicURL(p.config.addr, p.main.listener.Addr(), secure != nil)
	if p.config.admin == "" {
		return nil
	}
	p.admin.Server = p.server(adminRoutes(p.config, &p.health, p.site.broker, p.logger), nil)
	p.admin.WriteTimeout = profileTimeout
	if p.admin.listener, err = p.config.listen(ctx, p.config.admin, "-admin"); err != nil {
		p.main.listener.Close()
	}
	return err
}

func (p *program) server(routes http.Handler, secure *tls.Config) *http.Server {
	s := &http.Server{
		Handler:           routes,
		TLSConfig:         secure,
		Protocols:         &http.Protocols{},
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(p.logger.Handler(), slog.LevelWarn),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(secure != nil)
	s.Protocols.SetUnencryptedHTTP2(p.config.h2c)
	return s
}

// serve returns when ctx is done and the streams have ended, or when a server fails.
func (p *program) serve(ctx context.Context) error {
	failed := make(chan error, 2)
	var running sync.WaitGroup
	defer running.Wait()
	working, stop := context.WithCancel(ctx)
	defer stop()
	if !p.config.demo { // which ends when its terminal does
		hangups := catchHangups()
		running.Go(func() { p.reloadOnHangup(working, hangups) })
	}
	start := func(e endpoint) { running.Go(func() { failed <- e.serve() }) }
	start(p.main)
	defer p.main.Close()
	if p.admin.Server != nil {
		start(p.admin)
		defer p.admin.Close()
		p.logger.Info("listening", "admin", p.admin.listener.Addr().String())
	}
	p.logger.Info("listening", "url", p.url, "version", version())

	if p.site.feed != nil {
		running.Go(func() { p.site.feed(working) })
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return p.shutDown(context.WithoutCancel(ctx))
	}
}

// shutDown first says that this server is no longer ready and lets its clients go to another, while who comes
// nevertheless is told to come back later; then it stops listening.
func (p *program) shutDown(ctx context.Context) error {
	p.logger.Info("draining", "streams", p.site.broker.Stats().Connections, "over", p.config.drain.String())
	p.health.draining.Store(true)
	p.drain(ctx)
	p.logger.Info("shutting down")
	deadline, cancel := context.WithTimeout(ctx, p.config.grace)
	defer cancel()
	defer p.site.broker.Close()
	if err := p.main.Shutdown(deadline); err != nil {
		p.logger.Warn("cutting the requests that are still open", "error", err)
		return p.main.Close()
	}
	return nil
}

// drain cuts the streams that have not ended by the end of the window and the grace: their clients do not read.
func (p *program) drain(ctx context.Context) {
	deadline, cancel := context.WithTimeout(ctx, p.config.drain+p.config.grace)
	defer cancel()
	if err := p.site.broker.Drain(deadline, p.config.drain); err != nil {
		p.logger.Warn("cutting the streams that are still open", "streams", p.site.broker.Stats().Connections, "error", err)
		p.site.broker.Break()
	}
}

func (c *config) listen(ctx context.Context, addr, flag string) (net.Listener, error) {
	sockets := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) (err error) {
		timeout := cmp.Or(c.handler.PeerTimeout, server.DefaultPeerTimeout)
		if timeout < 0 {
			return nil
		}
		failed := socket.Control(func(fd uintptr) { err = setPeerTimeout(fd, timeout) })
		return cmp.Or(failed, err)
	}}
	listener, err := sockets.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: choose another port with PORT=, or with %s", addr, flag)
	}
	return listener, err
}

// publicURL is what a person on this machine opens: with the real port, and a host in place of "all of them".
func publicURL(addr string, listening net.Addr, secure bool) string {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	_, port, _ := net.SplitHostPort(listening.String())
	host, _, _ := net.SplitHostPort(reachable(addr))
	return scheme + net.JoinHostPort(host, port)
}

// reachable makes an address to listen on one to connect to.
func reachable(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = ""
	}
	return net.JoinHostPort(cmp.Or(host, "localhost"), port)
}
