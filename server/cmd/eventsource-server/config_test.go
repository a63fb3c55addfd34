package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cli"
)

func TestConfigure(t *testing.T) {
	tests := map[string]struct {
		args, env []string
		got       func(*config) any
		want      any
	}{
		"address":            {nil, nil, func(c *config) any { return c.addr }, "localhost:8080"},
		"PORT":               {nil, []string{"PORT", "9"}, func(c *config) any { return c.addr }, "localhost:9"},
		"variable, not PORT": {nil, []string{"PORT", "9", "EVENTSOURCE_ADDR", "h:1"}, func(c *config) any { return c.addr }, "h:1"},
		"flag, not variable": {[]string{"-addr", ":1"}, []string{"EVENTSOURCE_ADDR", "h:1"}, func(c *config) any { return c.addr }, ":1"},
		"variable of a word": {nil, []string{"EVENTSOURCE_LOG_LEVEL", "debug"}, func(c *config) any { return c.logging.Level }, slog.LevelDebug},
		"no admin":           {nil, nil, func(c *config) any { return c.admin }, ""},
		"admin on loopback":  {[]string{"-admin", ":9"}, nil, func(c *config) any { return c.admin }, "127.0.0.1:9"},
		"admin for all":      {[]string{"-admin", "0.0.0.0:9"}, nil, func(c *config) any { return c.admin }, "0.0.0.0:9"},
		"no token":           {nil, nil, func(c *config) any { return c.token }, ""},
		"drain":              {nil, nil, func(c *config) any { return c.drain }, 10 * time.Second},
		"no drain":           {[]string{"-drain", "0"}, nil, func(c *config) any { return c.drain }, time.Duration(0)},
		"lists":              {[]string{"-topics", " a.*, b ,"}, nil, func(c *config) any { return c.broker.Topics }, []string{"a.*", "b"}},
		"origins":            {[]string{"-cors", "https://a.example, http://localhost:1 ,*"}, nil, func(c *config) any { return c.handler.AllowedOrigins }, []string{"https://a.example", "http://localhost:1", "*"}},
		"proxies":            {nil, []string{"EVENTSOURCE_TRUSTED_PROXIES", "10.0.0.0/8,::1"}, func(c *config) any { return c.handler.TrustedProxies }, "[10.0.0.0/8 ::1/128]"},
		"a limit":            {[]string{"-max-connections", "7"}, nil, func(c *config) any { return c.broker.MaxConnections }, 7},
		"no limit":           {[]string{"-max-connections", "-1"}, nil, func(c *config) any { return c.broker.MaxConnections }, -1},
		"no compression":     {nil, []string{"EVENTSOURCE_COMPRESS", "false"}, func(c *config) any { return len(c.handler.Codings) }, 0},
		"compression":        {[]string{"-compress"}, nil, func(c *config) any { return c.handler.Codings[0].Name() }, "zstd"},
		"policies": {nil, nil, func(c *config) any {
			return []any{c.handler.LagPolicy, c.handler.GapPolicy}
		},
			[]any{server.EndLagging, server.FromOldest}},
		"other policies": {[]string{"-lag-policy", "skip"}, []string{"EVENTSOURCE_GAP_POLICY", "head"}, func(c *config) any {
			return []any{c.handler.LagPolicy, c.handler.GapPolicy}
		},
			[]any{server.SkipLagging, server.FromHead}},
		"a topic's age":     {[]string{"-store", "file:/x", "-store-age", "5h"}, nil, func(c *config) any { return c.broker.DistinctTopicAge }, 5 * time.Hour},
		"limits of tickets": {[]string{"-tickets", "-max-tickets-per-ip", "7"}, []string{"EVENTSOURCE_MAX_TICKET_BYTES", "9"}, func(c *config) any { t := c.tickets.tickets(); return []any{t.MaxPerSubject, t.MaxPerIP, t.MaxBytes} }, []any{1000, 7, 9}},
		"limits as documented": {nil, nil, func(c *config) any {
			return []any{c.broker.MaxEvents, c.broker.MaxAge, c.handler.MaxLag, c.handler.Heartbeat}
		},
			[]any{server.DefaultMaxEvents, server.DefaultMaxAge, server.DefaultMaxLag, server.DefaultHeartbeat}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := configure(test.args, environment(test.env...), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if got := test.got(c); fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestInvalidConfiguration(t *testing.T) {
	tests := map[string]struct {
		args, env []string
		want      string // of the error
	}{
		"a variable's type":       {nil, []string{"EVENTSOURCE_MAX_LAG", "hunter2"}, "invalid value of $EVENTSOURCE_MAX_LAG for -max-lag"},
		"a variable's word":       {nil, []string{"EVENTSOURCE_GAP_POLICY", "none"}, "invalid value of $EVENTSOURCE_GAP_POLICY for -gap-policy: must be head or oldest"},
		"a misspelt variable":     {nil, []string{"EVENTSOURCE_PUBLC", "hunter2"}, "did you mean $EVENTSOURCE_PUBLIC?"},
		"log format":              {[]string{"-log-format", "xml"}, nil, "text or json"},
		"pprof for all":           {[]string{"-pprof"}, nil, "-pprof requires -admin"},
		"a mode without a socket": {[]string{"-unix-mode", "0600"}, nil, "-unix-mode requires -addr unix:/path or -admin unix:/path"},
		"a mode of letters":       {[]string{"-addr", "unix:/x", "-unix-mode", "rw"}, nil, "0660"},
		"a negative drain":        {[]string{"-drain", "-1s"}, nil, "-drain"},
		"a proxy's zone":          {[]string{"-trusted-proxies", "fe80::1%eth0"}, nil, `"fe80::1"`},
		"a mapped proxy":          {[]string{"-trusted-proxies", "::ffff:10.0.0.0/104"}, nil, `"10.0.0.0/8"`},
		"a mapped address":        {[]string{"-trusted-proxies", "::ffff:10.0.0.1"}, nil, `"10.0.0.1/32"`},
		"a proxy's name":          {[]string{"-trusted-proxies", "proxy.example"}, nil, "10.0.0.0/8"},
		"a burst of any rate":     {[]string{"-publish-burst", "5"}, nil, "-publish-burst requires -publish-rate"},
		"ACME without domains":    {[]string{"-acme-email", "a@b.example"}, nil, "-acme-email requires -acme-domains"},
		"a cookie's name":         {[]string{"-jwt-keys", "f", "-jwt-cookie", "a b"}, nil, "-jwt-cookie"},
		"an upper-case origin":    {[]string{"-cors", "https://App.example"}, nil, `-cors: "https://App.example" contains uppercase letters, which browsers do not send: write "https://app.example"`},
		"a star within a name":    {[]string{"-cors", "https://app*.example"}, nil, `"*.app.example"`},
		"an origin's path":        {nil, []string{"EVENTSOURCE_CORS", "https://app.example/"}, `write "https://app.example"`},
		"a header's name":         {[]string{"-cors-headers", "X Tenant"}, nil, "-cors-headers"},
		"all headers":             {[]string{"-cors-headers", "*"}, nil, "-cors-headers"},
		"a host's scheme":         {[]string{"-hosts", "https://a.example"}, nil, `-hosts: "https://a.example" has a scheme: write "a.example"`},
		"limits without tickets":  {[]string{"-max-ticket-bytes", "1"}, nil, "require -tickets"},
		"minimum over maximum":    {[]string{"-min-retry", "2h"}, nil, "-min-retry must not be greater than -max-retry"},
		"two tokens":              {[]string{"-token-file", "f"}, []string{"EVENTSOURCE_TOKEN", "t"}, "mutually exclusive"},
		"keys and a secret":       {[]string{"-jwt-keys", "f", "-jwt-secret-file", "f"}, nil, "mutually exclusive"},
		"an issuer without keys":  {[]string{"-jwt-issuer", "us"}, nil, "-jwt-issuer requires -jwt-keys"},
		"a negative rate":         {[]string{"-publish-rate", "-1"}, nil, "-publish-rate"},
		"h2c with TLS":            {[]string{"-h2c", "-tls-cert", "c", "-tls-key", "k"}, nil, "-h2c"},
		"a pattern":               {[]string{"-public", "a.>.b"}, nil, `"a.>.b"`},
		"a proxy":                 {nil, []string{"EVENTSOURCE_TRUSTED_PROXIES", "10.0.0.0/33"}, "-trusted-proxies"},
		"a certificate, no key":   {[]string{"-tls-cert", "c"}, nil, "-tls-cert and -tls-key must be set together"},
		"a key, no certificate":   {[]string{"-tls-key", "c"}, nil, "-tls-cert and -tls-key must be set together"},
		"ACME and a certificate":  {[]string{"-acme-domains", "a.example", "-tls-cert", "c", "-tls-key", "k"}, nil, "mutually exclusive"},
		"ACME without a cache":    {[]string{"-acme-domains", "a.example"}, nil, "-acme-cache"},
		"ACME for any host":       {[]string{"-acme-domains", "*.example", "-acme-cache", "c"}, nil, `"*.example"`},
		"ACME for a short name":   {[]string{"-acme-domains", "localhost", "-acme-cache", "c"}, nil, `"localhost"`},
		"ACME in the clear":       {[]string{"-acme-domains", "a.example", "-acme-cache", "c", "-acme-directory", "http://ca.example"}, nil, "https://"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := configure(test.args, environment(test.env...), io.Discard)
			if !errors.Is(err, cli.ErrInvalid) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestNATSURLs(t *testing.T) {
	const where = "EVENTSOURCE_STORE"
	for _, url := range []string{"nats://a", "nats://a:4222,tls://b:4222", "nats://user:p%40ss%2Fword@a:4222", "nats://token@a", "nats://[::1]:4222/", "nats://a, nats://b,", "nats://a,b:4222"} {
		if _, err := configure([]string{"-public", ">"}, environment(where, url), io.Discard); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for url, want := range map[string]string{
		"nats://user:hunter2 @a":       "URL 1 is malformed",
		"nats://user:hunter2%zz@a":     "URL 1 is malformed",
		"nats://user:hunter2/@a":       "URL 1 is malformed",
		"nats://a,nats://u:hunter2@:x": "URL 2 is malformed",
		"nats://user:12/hunter2@a":     "URL 1 has text after the host",
		"nats://user:12#hunter2@a":     "URL 1 has text after the host",
		"nats://user:12?hunter2@a":     "URL 1 has text after the host",
		"nats://a/hunter2":             "URL 1 has text after the host",
		"nats://":                      "URL 1 has no host",
		"nats://user:hunter2@":         "URL 1 has no host",
		"nats://user:hunter2@a:":       "URL 1 has an empty port",
		"nats://a,b:hunter2":           "URL 2 is malformed",
		"nats://user:hun,ter2hunter2@": "URL 1 is malformed",
		"tls://a,ws://u:hunter2@a":     "URL 2 does not begin with nats://",
	} {
		_, err := configure([]string{"-public", ">"}, environment(where, url), io.Discard)
		if !errors.Is(err, cli.ErrInvalid) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nats://user:password@host:4222") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func TestHelpHidesSecrets(t *testing.T) {
	var stderr bytes.Buffer
	err := run(t.Context(), []string{"-help"}, environment("EVENTSOURCE_TOKEN", "hunter2"), io.Discard, &stderr)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(stderr.String(), "-addr") || strings.Contains(stderr.String(), "hunter2") {
		t.Errorf("run: %v, %s", err, stderr.String())
	}
}

func TestVersion(t *testing.T) {
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"-version"}, environment(), &stdout, io.Discard); err != nil || len(stdout.String()) < 2 {
		t.Errorf("run: %v, printed %q", err, stdout.String())
	}
}

func TestListensOnLoopbackByDefault(t *testing.T) {
	c, err := configure(nil, environment("PORT", "0"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := c.listen(t.Context(), c.addr, "-addr")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		t.Errorf("listens on %v", listener.Addr())
	}
}

func TestTooFewDescriptors(t *testing.T) {
	tests := map[string]struct {
		streams int
		limit   uint64
		warns   bool
	}{
		"enough":       {900, 1000, false},
		"one too few":  {901, 1000, true},
		"any number":   {-1, 1000, false},
		"no limit":     {10_000, 1 << 63, false},
		"far too few":  {10_000, 1024, true},
		"none allowed": {0, 10, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			warnOfDescriptors(test.streams, test.limit, slog.New(slog.NewTextHandler(&log, nil)))
			if warns := strings.Contains(log.String(), "-max-connections"); warns != test.warns {
				t.Errorf("log %q", log.String())
			}
		})
	}
}
