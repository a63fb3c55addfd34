package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/jwt"
)

// A jwtIssuer has the flags about JSON Web Tokens.
type jwtIssuer struct {
	keys, secretFile string
	issuer, cookie   string
	audience         list
	leeway           time.Duration
}

func (j *jwtIssuer) flags(f *flag.FlagSet) {
	f.StringVar(&j.keys, "jwt-keys", "", "`file or URL` of the public keys that verify JSON Web Tokens: a JWK set, or PEM in a file (default no such tokens)")
	f.StringVar(&j.secretFile, "jwt-secret-file", "", "`file` with a secret shared with the issuer, at least 32 bytes, instead of -jwt-keys")
	f.StringVar(&j.issuer, "jwt-issuer", "", "required value of the `iss` claim (default any)")
	f.Var(&j.audience, "jwt-audience", "comma-separated `names` of this server, one of which the aud claim must contain (default tokens must have no aud)")
	f.DurationVar(&j.leeway, "jwt-leeway", 0, "maximum `difference` between the clocks of the issuer and this server")
	f.StringVar(&j.cookie, "jwt-cookie", "", "`name` of a cookie that may hold the token, for pages of this origin and of -cors (default none)")
}

func (j *jwtIssuer) configured() bool { return j.keys != "" || j.secretFile != "" }

func (j *jwtIssuer) validate(given map[string]bool) error {
	if j.keys != "" && j.secretFile != "" {
		return errors.New("-jwt-keys and -jwt-secret-file are mutually exclusive: remove one")
	}
	if j.cookie != "" && (&http.Cookie{Name: j.cookie}).Valid() != nil {
		return fmt.Errorf("-jwt-cookie: %q is not a valid cookie name: use letters, digits, - and _", j.cookie)
	}
	for name := range given {
		if strings.HasPrefix(name, "jwt-") && !j.configured() {
			return fmt.Errorf("-%s requires -jwt-keys or -jwt-secret-file", name)
		}
	}
	return nil
}

func (j *jwtIssuer) authorizer(ctx context.Context, origins []string, logger *slog.Logger) (*jwt.Authorizer, source, error) {
	keys, flag, err := j.load(ctx, logger)
	if err != nil {
		return nil, source{}, fmt.Errorf("-%s: %w", flag, err)
	}
	return &jwt.Authorizer{
		Keys:           keys,
		Issuer:         j.issuer,
		Audience:       j.audience,
		Leeway:         j.leeway,
		Cookie:         j.cookie,
		AllowedOrigins: origins,
	}, source{flag, keys.Reload}, nil
}

func (j *jwtIssuer) load(ctx context.Context, logger *slog.Logger) (keys *jwt.Keys, flag string, err error) {
	switch {
	case j.secretFile != "":
		keys, err = jwt.LoadSecret(j.secretFile)
		return keys, "jwt-secret-file", err
	case strings.Contains(j.keys, "://"):
		keys, err = jwt.FetchKeys(ctx, j.keys, &jwt.FetchOptions{Logger: logger})
	default:
		keys, err = jwt.LoadKeys(j.keys)
	}
	return keys, "jwt-keys", err
}
