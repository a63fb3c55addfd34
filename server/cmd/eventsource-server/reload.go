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

// A source is where something comes from that SIGHUP has read again.
type source struct {
	flag string
	load func(context.Context) error // if it fails, what there was stays
}

func (s source) read(ctx context.Context) error {
	if err := s.load(ctx); err != nil {
		return fmt.Errorf("-%s: %w", s.flag, err)
	}
	return nil
}

// catchHangups must come before anyone is told that the program runs: by default, SIGHUP ends it.
func catchHangups() chan os.Signal {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// reloadOnHangup reads all sources again at every SIGHUP, until ctx is done.
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
