package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

// sample returns flags, and a function that returns their values.
func sample() (*flag.FlagSet, func() string) {
	f := flag.NewFlagSet("sample", flag.ContinueOnError)
	public, level := "", slog.LevelInfo
	f.StringVar(&public, "public", "", "")
	f.TextVar(&level, "log-level", slog.LevelInfo, "")
	f.String("max-connections", "", "")
	f.String("max-connections-per-ip", "", "")
	return f, func() string { return fmt.Sprint(public, " ", level) }
}

func TestParse(t *testing.T) {
	tests := map[string]struct {
		args []string
		env  Environment
		want string
	}{
		"a flag":                      {[]string{"-public", "a"}, nil, "a INFO"},
		"a variable":                  {nil, Environment{"EVENTSOURCE_LOG_LEVEL=debug"}, " DEBUG"},
		"a flag before its variable":  {[]string{"-public", "a"}, Environment{"EVENTSOURCE_PUBLIC=b"}, "a INFO"},
		"an empty variable":           {nil, Environment{"EVENTSOURCE_PUBLIC="}, " INFO"},
		"a value with an equals sign": {nil, Environment{"EVENTSOURCE_PUBLIC=a=b"}, "a=b INFO"},
		"other people's variables":    {nil, Environment{"HOME=/", "PUBLIC=x", "EVENTSOURCES=x"}, " INFO"},
		"Kubernetes' service": {nil, Environment{"EVENTSOURCE_SERVICE_HOST=10.0.0.1", "EVENTSOURCE_SERVICE_PORT=80", "EVENTSOURCE_SERVICE_PORT_HTTP=80",
			"EVENTSOURCE_PORT=tcp://10.0.0.1:80", "EVENTSOURCE_PORT_80_TCP=tcp://10.0.0.1:80", "EVENTSOURCE_PORT_80_TCP_PROTO=tcp",
			"EVENTSOURCE_PORT_80_TCP_PORT=80", "EVENTSOURCE_PORT_80_TCP_ADDR=10.0.0.1", "EVENTSOURCE_SERVER_SERVICE_HOST=10.0.0.2"}, " INFO"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, got := sample()
			if _, err := Parse(f, "", test.args, test.env, io.Discard); err != nil || got() != test.want {
				t.Errorf("got %q, %v, want %q", got(), err, test.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := map[string]struct {
		args []string
		env  Environment
		want string
	}{
		"a misspelt flag":        {[]string{"-pubic", "a"}, nil, "unknown flag -pubic: did you mean -public?"},
		"another flag":           {[]string{"-nonsense"}, nil, "unknown flag -nonsense"},
		"an argument":            {[]string{"serve"}, nil, `unexpected argument "serve"`},
		"a flag's value":         {[]string{"-log-level", "loud"}, nil, "-log-level"},
		"a variable's value":     {nil, Environment{"EVENTSOURCE_LOG_LEVEL=hunter2"}, "invalid value of $EVENTSOURCE_LOG_LEVEL for -log-level"},
		"a misspelt variable":    {nil, Environment{"EVENTSOURCE_MAX_CONECTIONS=hunter2"}, "unknown environment variable $EVENTSOURCE_MAX_CONECTIONS: did you mean $EVENTSOURCE_MAX_CONNECTIONS?"},
		"the nearest of two":     {nil, Environment{"EVENTSOURCE_MAX_CONNECTIONS_PER_IPS=hunter2"}, "did you mean $EVENTSOURCE_MAX_CONNECTIONS_PER_IP?"},
		"a variable with dashes": {nil, Environment{"EVENTSOURCE_LOG-LEVEL=hunter2"}, "did you mean $EVENTSOURCE_LOG_LEVEL?"},
		"a lower-case variable":  {nil, Environment{"eventsource_public=hunter2"}, "did you mean $EVENTSOURCE_PUBLIC?"},
		"another variable":       {nil, Environment{"EVENTSOURCE_FAVOURITE_COLOUR=hunter2"}, "unknown environment variable $EVENTSOURCE_FAVOURITE_COLOUR: unset"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, _ := sample()
			_, err := Parse(f, "", test.args, test.env, io.Discard)
			if !errors.Is(err, ErrInvalid) || !strings.HasPrefix(err.Error(), "invalid flags: ") || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Help is printed only on request, not with an error.
func TestHelp(t *testing.T) {
	for arg, want := range map[string]error{"-h": flag.ErrHelp, "-nonsense": ErrInvalid} {
		var output bytes.Buffer
		f, _ := sample()
		_, err := Parse(f, "about", []string{arg}, Environment{"EVENTSOURCE_PUBLIC=hunter2"}, &output)
		if !errors.Is(err, want) || strings.Contains(output.String(), "-public") != (want == flag.ErrHelp) || strings.Contains(output.String(), "hunter2") {
			t.Errorf("%s: %v, printed %q", arg, err, output.String())
		}
	}
}

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{{"", ""}: 0, {"abc", ""}: 3, {"", "ab"}: 2, {"kitten", "sitting"}: 3, {"flaw", "lawn"}: 2, {"same", "same"}: 0} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("%q: %d, want %d", pair, got, want)
		}
	}
}

func TestList(t *testing.T) {
	var l List
	l.Set(" a.*, b ,,")
	if l.String() != "a.*,b" {
		t.Errorf("got %q", l)
	}
}
