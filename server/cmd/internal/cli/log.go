package cli

import (
	"errors"
	"flag"
	"io"
	"log/slog"
)

// Logging has the flags about logging. Flags sets its defaults.
type Logging struct {
	Format string // text or json
	Level  slog.Level
}

// Flags binds -log-format and -log-level.
func (l *Logging) Flags(f *flag.FlagSet) {
	f.StringVar(&l.Format, "log-format", "text", "`text or json`")
	f.TextVar(&l.Level, "log-level", slog.LevelInfo, "`debug, info, warn or error`")
}

// Validate returns an error if the flags are invalid.
func (l *Logging) Validate() error {
	if l.Format != "text" && l.Format != "json" {
		return errors.New("-log-format must be text or json")
	}
	return nil
}

// Logger returns a logger that writes to w.
func (l *Logging) Logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.Level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
