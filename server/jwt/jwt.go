// Package jwt authorizes requests with JSON Web Tokens (RFC 7519). A token lists the topics that its bearer may
// subscribe and publish to:
//
//	{"sub": "ada", "exp": 1767225600, "events": {"subscribe": ["orders.*", "news"], "publish": ["orders.new"]}}
//
// An [Authorizer] verifies tokens for a [server.Handler]:
//
//	keys, err := jwt.FetchKeys(ctx, "https://issuer.example/.well-known/jwks.json", nil)
//	tokens := &jwt.Authorizer{Keys: keys, Issuer: "https://issuer.example", Audience: []string{"https://events.example"}}
//	http.Handle("/events", &server.Handler{Broker: broker, Authorize: tokens.Authorize})
//
// The token is in the header "Authorization: Bearer", or in a cookie. For pages that can send neither, see
// [server.Tickets].
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

// Defaults of an [Authorizer], for fields that are zero.
const (
	DefaultClaim         = "events"
	DefaultMaxTokenBytes = 8 << 10
)

// An Authorizer permits what the token of a request lists. Only Keys is required. Its fields must not change after its
// first use.
type Authorizer struct {
	// Keys verify the tokens.
	Keys *Keys

	// Issuer is the required value of the claim "iss". Empty accepts any issuer, and tokens without one.
	Issuer string

	// Audience lists the names of this server. The claim "aud" must contain one of them. Empty accepts only tokens
	// without an audience, because RFC 7519, section 4.1.3, requires others to be rejected.
	Audience []string

	// Leeway is the maximum difference between the clocks of the issuer and this server. Zero means none.
	Leeway time.Duration

	// AllowNoExpiry accepts tokens without the claim "exp". Such a token is valid until its key is replaced.
	AllowNoExpiry bool

	// Claim is the name of the claim that lists topics. Empty means "events".
	Claim string

	// Cookie is the name of a cookie that holds the token of requests without the header Authorization. It is used only
	// if the browser reports a page of this origin or of AllowedOrigins, or no page at all. Choose a name that starts
	// with "__Host-", so that no other host can set it. Empty means no cookie.
	Cookie string

	// AllowedOrigins lists further origins whose pages may use the cookie, as scheme://host[:port] or
	// https://*.app.example. Usually it has the value of [server.Handler.AllowedOrigins]. Here, "*" matches nothing.
	AllowedOrigins []string

	// MaxTokenBytes limits the size of a token. Zero means 8 KiB. Negative means no limit.
	MaxTokenBytes int
}

// algorithms are all algorithms that a key can have.
var algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

// errNoAuthorizerKeys is a bug in the program, so the response is 500.
var errNoAuthorizerKeys = errors.New("jwt: Authorizer.Keys is nil")

// Authorize is a function for [server.Handler.Authorize]. It permits a request if each of its topics or patterns is
// covered by one that the token lists, as defined by [server.Covers]. In the first call for a POST, where the topics
// are not known yet, the token must list at least one topic to publish to. The grant expires with the token plus
// Leeway. Its subject is the claims "iss" and "sub", or a hash of the token if there is no "sub".
//
// The error wraps [server.ErrUnauthenticated] for a request without a token, [server.ErrInvalidToken] for an invalid
// token, and [server.ErrForbidden] if the token does not list a topic.
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

// candidates returns the keys for the algorithm of the token only, so a token cannot use a public key as a secret.
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

// claims are the claims that an Authorizer uses. The name of the claim with the topics is configurable.
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
	if action == server.ActionPublish {
		return c.topics.Publish
	}
	return c.topics.Subscribe
}

func (c *claims) permits(action server.Action, topic string) bool {
	return slices.ContainsFunc(c.listed(action), func(pattern string) bool { return server.Covers(pattern, topic) })
}

// token returns the token of the request. The header takes precedence even if it is invalid, in which case a cookie does
// not count.
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

// fromOwnPage reports whether the request is from a page that may use the cookie, or from no page.
// CrossOriginProtection accepts a GET from any page because it is safe. A stream stays open, so it is checked like a
// POST.
func (a *Authorizer) fromOwnPage(r *http.Request) bool {
	if server.MatchOrigin(a.AllowedOrigins, r.Header.Get("Origin")) {
		return true
	}
	var protection http.CrossOriginProtection
	asPost := *r
	asPost.Method = http.MethodPost
	return protection.Check(&asPost) == nil
}
