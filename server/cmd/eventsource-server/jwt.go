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

// A jwtIssuer is whose tokens are accepted.
type jwtIssuer struct {
	keys, secretFile string
	issuer, cookie   string
	audience         list
	leeway           time.Duration
}

func (j *jwtIssuer) flags(f *flag.FlagSet) {
	f.StringVar(&j.keys, "jwt-keys", "", "`file or URL` of the public keys of who issues JSON Web Tokens, a JWK set, or in a file also PEM (default no such tokens)")
	f.StringVar(&j.secretFile, "jwt-secret-file", "", "`file` with the secret that is shared with who issues them, of 32 bytes or more, in place of -jwt-keys")
	f.StringVar(&j.issuer, "jwt-issuer", "", "`iss` that they must have (default any)")
	f.Var(&j.audience, "jwt-audience", "comma-separated `names` of this server, one of which must be in their aud (default they must have none)")
	f.DurationVar(&j.leeway, "jwt-leeway", 0, "`time` by which the issuer's clock may differ")
	f.StringVar(&j.cookie, "jwt-cookie", "", "`name` of a cookie that may hold the token, for pages of this origin and of -cors (default none)")
}

func (j *jwtIssuer) configured() bool { return j.keys != "" || j.secretFile != "" }

func (j *jwtIssuer) validate(given map[string]bool) error {
	if j.keys != "" && j.secretFile != "" {
		return errors.New("-jwt-keys and -jwt-secret-file exclude each other")
	}
	if j.cookie != "" && (&http.Cookie{Name: j.cookie}).Valid() != nil {
		return fmt.Errorf("-jwt-cookie: %q is not the name of a cookie: it has letters, digits and - or _", j.cookie)
	}
	for name := range given {
		if strings.HasPrefix(name, "jwt-") && !j.configured() {
			return fmt.Errorf("-%s needs -jwt-keys or -jwt-secret-file", name)
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
		keys, err = jwt.SecretFile(j.secretFile)
		return keys, "jwt-secret-file", err
	case strings.Contains(j.keys, "://"):
		keys, err = jwt.URL(ctx, j.keys, &jwt.URLOptions{Logger: logger})
	default:
		keys, err = jwt.File(j.keys)
	}
	return keys, "jwt-keys", err
}
