// Package jwt decides by JSON Web Tokens (RFC 7519) who may subscribe to which topics, and who may publish to which.
//
//	keys, err := jwt.URL(ctx, "https://issuer.example/.well-known/jwks.json", nil)
//	tokens := &jwt.Authorizer{Keys: keys, Issuer: "https://issuer.example", Audience: []string{"https://events.example"}}
//	http.Handle("/events", &server.Handler{Broker: broker, Authorize: tokens.Authorize})
//
// A token lists what it permits:
//
//	{"sub": "ada", "exp": 1767225600, "events": {"subscribe": ["orders.*", "news"], "publish": ["orders.new"]}}
//
// It comes in "Authorization: Bearer", or in a cookie. Where a page can send neither, see package ticket.
package jwt

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// What an [Authorizer] has whose fields are zero.
const (
	DefaultClaim         = "events"
	DefaultMaxTokenBytes = 8 << 10
)

// An Authorizer permits what a request's token lists. Only Keys is required. Its fields must not change after its first
// use.
type Authorizer struct {
	// Keys are what tokens are verified with.
	Keys *Keys

	// Issuer is what the claim "iss" must be. Empty accepts any issuer that has a key, and tokens without one.
	Issuer string

	// Audience lists what this server is called. The claim "aud" must contain one of them. Empty accepts tokens without
	// audience alone, for RFC 7519, section 4.1.3, leaves the others to whom they name.
	Audience []string

	// Leeway is how far the issuer's clock may be from this one. Zero means none.
	Leeway time.Duration

	// AllowNoExpiry accepts tokens without the claim "exp". Nothing but new keys ends what they permit.
	AllowNoExpiry bool

	// Claim names the claim that lists topics. Empty means "events".
	Claim string

	// Cookie names a cookie that holds the token of requests without the header Authorization. It counts only in what
	// the browser says is a request of a page of this origin or of one of AllowedOrigins, or by hand. Choose a name that
	// begins with "__Host-", so that no other host can set it. Empty means none.
	Cookie string

	// AllowedOrigins lists further origins whose pages may use the cookie, each as scheme://host[:port] or
	// https://*.app.example. They are probably those of [server.Handler.AllowedOrigins], of which "*" lists none here.
	AllowedOrigins []string

	// MaxTokenBytes bounds a token. Zero means 8 KiB; negative, no limit.
	MaxTokenBytes int
}

// algorithms are those that a key can be for.
var algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

// errNoAuthorizerKeys is a mistake of the program, so it is answered 500.
var errNoAuthorizerKeys = errors.New("jwt: Authorizer.Keys is nil")

// Authorize is a [server.Handler.Authorize]. It permits a request if every topic that it asks for, which may be a
// pattern, is covered by one that its token lists, as [server.Covers] has it. In the first call for a POST, where topics
// are not known yet, a token must list at least one to publish to. The grant expires when the token does,
// leeway included. Its subject is the token's "sub", or without one, the token.
//
// A request without a token is refused by [server.ErrUnauthenticated]; one whose token is not valid, whatever else it
// has, by [server.ErrInvalidToken]; and one that asks for more than is listed, by [server.ErrForbidden].
func (a *Authorizer) Authorize(r *http.Request, access server.Access) (server.Grant, error) {
	if a.Keys == nil {
		return server.Grant{}, errNoAuthorizerKeys
	}
	token, err := a.token(r)
	if err != nil {
		return server.Grant{}, err
	}
	c, err := a.verify(r, token)
	if err != nil {
		return server.Grant{}, fmt.Errorf("%w: %w", server.ErrInvalidToken, err)
	}
	if len(access.Topics) == 0 && len(c.listed(access.Action)) == 0 {
		return server.Grant{}, fmt.Errorf("%w: token lists no topics", server.ErrForbidden)
	}
	for _, topic := range access.Topics {
		if !c.permits(access.Action, topic) {
			return server.Grant{}, fmt.Errorf("%w: token does not list topic %q", server.ErrForbidden, topic)
		}
	}
	return a.grant(c, token), nil
}

func (a *Authorizer) verify(r *http.Request, token string) (*claims, error) {
	if limit := cmp.Or(a.MaxTokenBytes, DefaultMaxTokenBytes); limit >= 0 && len(token) > limit {
		return nil, fmt.Errorf("token is larger than %d bytes", limit)
	}
	c := &claims{name: cmp.Or(a.Claim, DefaultClaim)}
	_, err := a.parser().ParseWithClaims(token, c, func(token *jwt.Token) (any, error) {
		return a.candidates(r.Context(), token)
	})
	if err == nil && len(a.Audience) == 0 && len(c.Audience) > 0 {
		err = errors.New("token has an audience, but Authorizer.Audience is empty")
	}
	return c, err
}

// candidates returns the keys that may have signed the token: only those of its algorithm, so it cannot have a public
// key taken for a secret.
func (a *Authorizer) candidates(ctx context.Context, token *jwt.Token) (set jwt.VerificationKeySet, err error) {
	// RFC 7515, section 4.1.11: extensions listed there must be understood, and none is.
	if _, critical := token.Header["crit"]; critical {
		return set, errors.New("unsupported crit header")
	}
	id, _ := token.Header["kid"].(string)
	set.Keys = a.Keys.find(ctx, token.Method.Alg(), id)
	return set, nil
}

func (a *Authorizer) parser() *jwt.Parser {
	options := []jwt.ParserOption{jwt.WithValidMethods(algorithms), jwt.WithLeeway(a.Leeway), jwt.WithStrictDecoding()}
	if !a.AllowNoExpiry {
		options = append(options, jwt.WithExpirationRequired())
	}
	if a.Issuer != "" {
		options = append(options, jwt.WithIssuer(a.Issuer))
	}
	if len(a.Audience) > 0 {
		options = append(options, jwt.WithAudience(a.Audience...))
	}
	return jwt.NewParser(options...)
}

func (a *Authorizer) grant(c *claims, token string) server.Grant {
	g := server.Grant{Subject: c.Issuer + " " + c.Subject}
	if c.Subject == "" {
		hash := sha256.Sum256([]byte(token))
		g.Subject = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	if c.ExpiresAt != nil {
		g.Expires = c.ExpiresAt.Add(a.Leeway)
	}
	return g
}

// claims are those that count here. Which one lists topics is the Authorizer's to say.
type claims struct {
	jwt.RegisteredClaims
	name   string
	topics struct{ Subscribe, Publish []string }
}

func (c *claims) UnmarshalJSON(text []byte) error {
	var all map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(text, &all), json.Unmarshal(text, &c.RegisteredClaims)); err != nil {
		return err
	}
	if listed, ok := all[c.name]; ok {
		return json.Unmarshal(listed, &c.topics)
	}
	return nil
}

func (c *claims) listed(action server.Action) []string {
	if action == server.Publish {
		return c.topics.Publish
	}
	return c.topics.Subscribe
}

func (c *claims) permits(action server.Action, topic string) bool {
	return slices.ContainsFunc(c.listed(action), func(pattern string) bool { return server.Covers(pattern, topic) })
}

// token returns the request's. The header comes first even if it is wrong: a cookie must not make up for it.
func (a *Authorizer) token(r *http.Request) (string, error) {
	switch values := r.Header.Values("Authorization"); len(values) {
	case 0:
		return a.cookie(r)
	case 1:
		scheme, credentials, _ := strings.Cut(values[0], " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", server.ErrUnauthenticated
		}
		return strings.TrimLeft(credentials, " "), nil
	}
	return "", fmt.Errorf("%w: more than one Authorization header", server.ErrInvalidToken)
}

func (a *Authorizer) cookie(r *http.Request) (string, error) {
	if a.Cookie == "" || !a.fromOwnPage(r) {
		return "", server.ErrUnauthenticated
	}
	switch cookies := r.CookiesNamed(a.Cookie); len(cookies) {
	case 0:
		return "", server.ErrUnauthenticated
	case 1:
		return cookies[0].Value, nil
	}
	return "", fmt.Errorf("%w: more than one token cookie", server.ErrInvalidToken)
}

// fromOwnPage reports whether a page that may use the cookie makes the request, or none does. The protection has no
// objection to a GET of any page, since it changes nothing; but what this one opens, it holds open.
func (a *Authorizer) fromOwnPage(r *http.Request) bool {
	if server.MatchOrigin(a.AllowedOrigins, r.Header.Get("Origin")) {
		return true
	}
	var protection http.CrossOriginProtection
	asPost := *r
	asPost.Method = http.MethodPost
	return protection.Check(&asPost) == nil
}
