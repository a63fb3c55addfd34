package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cli"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cmdtest"
)

func TestMain(m *testing.M) { cmdtest.Main(m, main) }

const form = cmdtest.Form

var (
	do          = cmdtest.Do
	write       = cmdtest.WriteFile
	environment = cmdtest.Environment
)

// A journal is a log in JSON that tests read while it is written.
type journal struct{ cmdtest.Journal }

func (j *journal) wait(t testing.TB, message, attribute string) string {
	t.Helper()
	return j.Wait(t, message, attribute)
}

// A launched program runs until the test ends, or until stop is called, which returns what run does.
type launched struct {
	url  string
	log  *journal
	stop func() error
}

// launch runs the program on a free port.
func launch(t testing.TB, args ...string) launched {
	t.Helper()
	p := launched{log: &journal{}}
	p.url, p.stop = cmdtest.Launch(t, &p.log.Journal, func(ctx context.Context, log io.Writer) error {
		return run(ctx, append([]string{"-log-format", "json", "-log-level", "debug"}, args...), environment("PORT", "0"), io.Discard, log)
	})
	return p
}

// admin returns the URL of -admin.
func (l launched) admin(t *testing.T) string {
	t.Helper()
	return "http://" + l.log.wait(t, "listening", "admin")
}

// A request that does not end delays the end of the program by no more than the grace period.
func TestShutdownDeadline(t *testing.T) {
	p := launch(t, "-token", "secret", "-drain", "1ns", "-grace", "1ns")
	conn := hold(t, p.url)
	if err := p.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("read: %v", err)
	}
}

func TestRunFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	public := []string{"-public", ">"}
	tests := map[string]struct {
		args []string
		env  []string
		want []string // words of the error
	}{
		"port in use":     {public, []string{"PORT", port}, []string{port, "in use", "PORT="}},
		"argument":        {[]string{"serve"}, nil, []string{cli.ErrInvalid.Error(), "serve"}},
		"flag":            {[]string{"-port", "1"}, nil, []string{cli.ErrInvalid.Error(), "-port"}},
		"no access":       {nil, nil, []string{cli.ErrInvalid.Error(), "-public", "-token-file", "EVENTSOURCE_TOKEN"}},
		"origin's slash":  {[]string{"-cors", "https://a.example/"}, nil, []string{cli.ErrInvalid.Error(), "https://a.example/"}},
		"unusable host":   {append(public, "-addr", "localhost:http:1"), nil, []string{"localhost:http:1"}},
		"impossible port": {public, []string{"PORT", "70000"}, []string{"70000"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout bytes.Buffer
			err := run(t.Context(), test.args, environment(test.env...), &stdout, io.Discard)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("run: %v", err)
			}
			for _, word := range test.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the error %q does not mention %q", err, word)
				}
			}
			if stdout.Len() > 0 {
				t.Errorf("printed %q", stdout.String())
			}
		})
	}
}
