package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

func TestWhoMay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "secret\n")
	const bearer, wrong = "Bearer secret", "Bearer x"
	tests := map[string]struct {
		args                        []string
		method, path, authorization string
		status                      int
	}{
		"a reader with the token":        {[]string{"-token", "secret"}, "GET", "/events?topic=a", bearer, 200},
		"a reader without":               {[]string{"-token", "secret"}, "GET", "/events?topic=a", "", 401},
		"a reader with another":          {[]string{"-token", "secret"}, "GET", "/events?topic=a", wrong, 401},
		"a publisher with the token":     {[]string{"-token", "secret"}, "POST", "/events", bearer, 201},
		"a publisher without":            {[]string{"-token", "secret"}, "POST", "/events", "", 401},
		"the token of a file":            {[]string{"-token-file", file}, "POST", "/events", bearer, 201},
		"another than the file's":        {[]string{"-token-file", file}, "POST", "/events", wrong, 401},
		"the public's topic":             {[]string{"-public", "news.*"}, "GET", "/events?topic=news.eu", "", 200},
		"the public's pattern":           {[]string{"-public", "news.*"}, "GET", "/events?topic=news.*", "", 200},
		"more than the public's pattern": {[]string{"-public", "news.*"}, "GET", "/events?topic=news.>", "", 401},
		"one of two is public":           {[]string{"-public", "news.*"}, "GET", "/events?topic=news.eu&topic=a", "", 401},
		"all topics":                     {[]string{"-public", "news.*"}, "GET", "/events", "", 401},
		"all topics, all public":         {[]string{"-public", ">"}, "GET", "/events", "", 200},
		"all of two, which are public":   {[]string{"-public", "a,b", "-topics", "a,b"}, "GET", "/events", "", 200},
		"nobody publishes to the public": {[]string{"-public", ">"}, "POST", "/events", "", 401},
		"wrong where none is needed":     {[]string{"-public", ">", "-token", "secret"}, "GET", "/events", wrong, 401},
		"right where none is needed":     {[]string{"-public", "news.*", "-token", "secret"}, "GET", "/events", bearer, 200},
		"an unknown topic":               {[]string{"-token", "secret", "-topics", "b"}, "GET", "/events?topic=a", bearer, 404},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := launch(t, test.args...)
			response, body := do(t, test.method, p.url+test.path, "topic=a&data=x", "Authorization", test.authorization)
			if response.StatusCode != test.status {
				t.Errorf("status %d, want %d: %s", response.StatusCode, test.status, body)
			}
		})
	}
}

// Credentials of one kind are not known to the others.
func TestWaysAreTriedInTurn(t *testing.T) {
	broken := errors.New("broken")
	says := func(err error) authorizer {
		return func(*http.Request, server.Access) (server.Grant, error) { return server.Grant{Subject: "x"}, err }
	}
	tests := map[string]struct {
		ways []authorizer
		want error
	}{
		"none":                     {nil, server.ErrUnauthenticated},
		"the second":               {[]authorizer{says(server.ErrInvalidToken), says(nil)}, nil},
		"what the first had":       {[]authorizer{says(server.ErrInvalidToken), says(server.ErrUnauthenticated)}, server.ErrInvalidToken},
		"the second knows the one": {[]authorizer{says(server.ErrInvalidToken), says(server.ErrForbidden)}, server.ErrForbidden},
		"a failure":                {[]authorizer{says(server.ErrUnauthenticated), says(broken)}, broken},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := &access{ways: test.ways}
			grant, err := a.authorize(httptest.NewRequest("GET", "/", nil), server.Access{Topics: []string{"a"}})
			if !errors.Is(err, test.want) || (err == nil) != (grant.Subject == "x") {
				t.Errorf("got %v, %v, want %v", grant, err, test.want)
			}
		})
	}
}

func TestTokenFileFails(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "token")
	write(t, empty, " \n")
	for _, file := range []string{empty, empty + "x"} {
		c := &config{tokenFile: file}
		if _, err := newAccess(t.Context(), c); err == nil || !strings.Contains(err.Error(), "-token-file") || !strings.Contains(err.Error(), file) {
			t.Errorf("got %v", err)
		}
	}
}
