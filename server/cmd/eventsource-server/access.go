package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cli"
)

var errNobody = cli.Invalid(errors.New("no one can subscribe: set -public (topics that everyone may subscribe to), " +
	"-jwt-keys, -jwt-secret-file, -token-file or $EVENTSOURCE_TOKEN"))

// An authorizer is a function for [server.Handler.Authorize].
type authorizer = func(*http.Request, server.Access) (server.Grant, error)

// An access authorizes requests by their credentials, and permits everyone to subscribe to public topics.
type access struct {
	public  []string
	ways    []authorizer // one per kind of credentials
	sources []source     // of tokens and keys
}

func newAccess(ctx context.Context, c *config, logger *slog.Logger) (*access, error) {
	a := &access{public: c.public}
	if c.token != "" {
		a.ways = append(a.ways, server.BearerToken(c.token))
	}
	if c.tokenFile != "" {
		token := &tokenFile{path: c.tokenFile}
		source := source{"token-file", token.load}
		if err := source.read(ctx); err != nil {
			return nil, err
		}
		a.ways = append(a.ways, token.authorize)
		a.sources = append(a.sources, source)
	}
	if c.jwt.configured() {
		tokens, source, err := c.jwt.authorizer(ctx, c.handler.AllowedOrigins, logger)
		if err != nil {
			return nil, err
		}
		a.ways = append(a.ways, tokens.Authorize)
		a.sources = append(a.sources, source)
	}
	if len(a.ways) == 0 && len(a.public) == 0 {
		return nil, errNobody
	}
	return a, nil
}

// authorize is a function for [server.Handler.Authorize]. Invalid credentials are rejected even for public topics, so
// that the client notices.
func (a *access) authorize(r *http.Request, access server.Access) (server.Grant, error) {
	grant, err := a.byCredentials(r, access)
	if err != nil && !errors.Is(err, server.ErrInvalidToken) && a.isPublic(access) {
		return server.Grant{}, nil
	}
	return grant, err
}

// byCredentials returns the first grant, or the error of the way that recognized the credentials.
func (a *access) byCredentials(r *http.Request, access server.Access) (server.Grant, error) {
	refusal := server.ErrUnauthenticated
	for _, way := range a.ways {
		grant, err := way(r, access)
		if err == nil {
			return grant, nil
		}
		if !errors.Is(err, server.ErrUnauthenticated) {
			refusal = err
		}
	}
	return server.Grant{}, refusal
}

func (a *access) isPublic(access server.Access) bool {
	if access.Action != server.ActionSubscribe {
		return false
	}
	for _, topic := range access.Topics {
		if !anyCovers(a.public, topic) {
			return false
		}
	}
	return true
}

func anyCovers(patterns []string, topic string) bool {
	for _, pattern := range patterns {
		if server.Covers(pattern, topic) {
			return true
		}
	}
	return false
}

// A tokenFile holds a bearer token that permits everything.
type tokenFile struct {
	path    string
	current atomic.Pointer[authorizer]
}

func (t *tokenFile) load(context.Context) error {
	text, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return fmt.Errorf("%s is empty", t.path)
	}
	authorize := server.BearerToken(token)
	t.current.Store(&authorize)
	return nil
}

func (t *tokenFile) authorize(r *http.Request, access server.Access) (server.Grant, error) {
	return (*t.current.Load())(r, access)
}
