package main

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/serve"
)

// profileTimeout is the maximum duration of a profile.
const profileTimeout = 5 * time.Minute

// A program has everything that listens.
type program struct {
	config *config
	logger *slog.Logger
	site   *site
	url    string // of the site

	health      serve.Health
	sources     []source
	main, admin serve.Endpoint
}

// listen opens everything that serve serves, so that all errors are found before the program reports that it is
// listening.
func (p *program) listen(ctx context.Context) (err error) {
	secure, sources, err := newTLS(ctx, p.config, p.logger)
	if err != nil {
		return err
	}
	p.sources = append(sources, p.site.sources...)
	p.health.Ready = p.site.ready
	p.health.Register(p.site.mux)
	p.main.Server = p.server(p.site.mux)
	p.main.TLSConfig = secure
	p.main.Protocols.SetHTTP2(secure != nil)
	if p.main.Listener, err = p.config.listen(ctx, p.config.addr, "-addr"); err != nil {
		return err
	}
	p.url = serve.URL(p.config.addr, p.main.Listener.Addr(), secure != nil)
	if p.config.admin == "" {
		return nil
	}
	p.admin.Server = p.server(adminRoutes(p.config, &p.health, p.site.broker, p.logger))
	p.admin.WriteTimeout = profileTimeout
	if p.admin.Listener, err = p.config.listen(ctx, p.config.admin, "-admin"); err != nil {
		p.main.Listener.Close()
	}
	return err
}

func (p *program) server(routes http.Handler) *http.Server {
	s := serve.NewServer(routes, p.logger)
	s.Protocols.SetUnencryptedHTTP2(p.config.h2c)
	return s
}

func (c *config) listen(ctx context.Context, addr, flag string) (net.Listener, error) {
	sockets := serve.Sockets{PeerTimeout: cmp.Or(c.handler.PeerTimeout, server.DefaultPeerTimeout), Mode: c.unixMode}
	return sockets.Listen(ctx, addr, flag)
}

// serve returns when ctx is done and the streams have ended, or when a server fails.
func (p *program) serve(ctx context.Context) error {
	hangups := catchHangups()
	if p.admin.Server != nil {
		p.logger.Info("listening", "admin", p.admin.Listener.Addr().String())
	}
	p.logger.Info("listening", "url", p.url, "version", version())
	service := &serve.Service{
		Broker: p.site.broker,
		Logger: p.logger,
		Health: &p.health,
		Main:   p.main,
		Admin:  p.admin,
		Drain:  p.config.drain,
		Grace:  p.config.grace,
		Tasks:  []func(context.Context){func(ctx context.Context) { p.reloadOnHangup(ctx, hangups) }},
	}
	return service.Run(ctx)
}
