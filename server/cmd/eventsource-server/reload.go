package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/eventsource-wasm/eventsource-wasm/server/jwt"
)

// A source is something that SIGHUP reloads.
type source struct {
	flag string
	load func(context.Context) error // if it fails, the old value stays
}

func (s source) read(ctx context.Context) error {
	if err := s.load(ctx); err != nil {
		return fmt.Errorf("-%s: %w", s.flag, err)
	}
	return nil
}

// catchHangups must be called before the program reports that it is running: by default, SIGHUP ends it.
func catchHangups() chan os.Signal {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// reloadOnHangup reloads all sources at every SIGHUP until ctx is done.
func (p *program) reloadOnHangup(ctx context.Context, hangups chan os.Signal) {
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			p.reload(ctx)
		}
	}
}

func (p *program) reload(ctx context.Context) {
	for _, s := range p.sources {
		switch err := s.read(ctx); {
		case errors.Is(err, jwt.ErrWithdrawn):
			p.logger.Warn("JWK set has no usable keys: rejecting all tokens", "error", err)
		case err != nil:
			p.logger.Error("reload failed: keeping the old value", "error", err)
		default:
			p.logger.Info("reloaded", "flag", s.flag)
		}
	}
}
