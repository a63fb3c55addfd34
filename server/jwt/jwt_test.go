package jwt_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	library "github.com/golang-jwt/jwt/v5"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/jwt"
)

// TestMain fails if a goroutine of this package outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, stack := range bytes.Split(stacks, []byte("\n\n"))[1:] {
		if bytes.Contains(stack, []byte("eventsource-wasm/server/jwt.")) {
			fmt.Fprintf(os.Stderr, "goroutine leaked:\n%s\n", stack)
			code = 1
		}
	}
	os.Exit(code)
}

var (
	secret         = []byte("0123456789abcdef0123456789abcdef")
	rsaKey, _      = rsa.GenerateKey(rand.Reader, 2048)
	smallRSAKey, _ = rsa.GenerateKey(rand.Reader, 1024)
	ecKey, _       = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384Key, _     = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, edKey, _    = ed25519.GenerateKey(rand.Reader)
)

type object = map[string]any

// sign makes a token. Changes with the value nil remove claims.
func sign(t testing.TB, method library.SigningMethod, key any, header, changes object) string {
	t.Helper()
	claims := library.MapClaims{
		"sub":    "ada",
		"exp":    time.Now().Add(time.Hour).Unix(),
		"events": object{"subscribe": []string{"orders.*", "news"}, "publish": []string{"orders.new"}},
	}
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	token := library.NewWithClaims(method, claims)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func hs256(t testing.TB, changes object) string {
	return sign(t, library.SigningMethodHS256, secret, nil, changes)
}

func secretKeys(t testing.TB) *jwt.Keys {
	t.Helper()
	keys, err := jwt.SecretKeys(secret)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func pemOf(t testing.TB, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func parsed(t testing.TB, text []byte) *jwt.Keys {
	t.Helper()
	keys, err := jwt.ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func request(header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://events.example/", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func bearer(token string) *http.Request { return request("Authorization", "Bearer "+token) }

func subscribe(topics ...string) server.Access {
	return server.Access{Action: server.ActionSubscribe, Topics: topics}
}

func TestTopics(t *testing.T) {
	tests := map[string]struct {
		access server.Access
		want   error
	}{
		"listed":                 {subscribe("news"), nil},
		"under a pattern":        {subscribe("news", "orders.x"), nil},
		"the pattern":            {subscribe("orders.*"), nil},
		"more than the pattern":  {subscribe("orders.>"), server.ErrForbidden},
		"everything":             {subscribe(">"), server.ErrForbidden},
		"one of two":             {subscribe("news", "weather"), server.ErrForbidden},
		"to publish only":        {server.Access{Action: server.ActionPublish, Topics: []string{"orders.new"}, Events: 1}, nil},
		"to subscribe only":      {server.Access{Action: server.ActionPublish, Topics: []string{"news"}, Events: 1}, server.ErrForbidden},
		"publishing one of two":  {server.Access{Action: server.ActionPublish, Topics: []string{"orders.new", "news"}}, server.ErrForbidden},
		"publishing to patterns": {server.Access{Action: server.ActionPublish, Topics: []string{"orders.*"}}, server.ErrForbidden},
		"publishing anything":    {server.Access{Action: server.ActionPublish}, nil},
	}
	a := &jwt.Authorizer{Keys: secretKeys(t)}
	token := hs256(t, nil)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := a.Authorize(bearer(token), test.access); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// Before the body of a POST is read, its topics are unknown. A token that permits no topic is already refused then.
func TestTokenWithoutTopics(t *testing.T) {
	a := &jwt.Authorizer{Keys: secretKeys(t)}
	reader := object{"events": object{"subscribe": []string{"news"}}}
	tests := map[string]struct {
		r    *http.Request
		want error
	}{
		"a publisher": {bearer(hs256(t, nil)), nil},
		"a reader":    {bearer(hs256(t, reader)), server.ErrForbidden},
		"expired":     {bearer(hs256(t, object{"exp": 1})), server.ErrInvalidToken},
		"nobody":      {request(), server.ErrUnauthenticated},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := a.Authorize(test.r, server.Access{Action: server.ActionPublish}); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestClaims(t *testing.T) {
	now := time.Now()
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	strict := jwt.Authorizer{Issuer: "https://issuer.example", Audience: []string{"events", "https://events.example"}}
	fine := object{"iss": "https://issuer.example", "aud": []string{"other", "events"}}
	but := func(name string, value any) object {
		changed := maps.Clone(fine)
		changed[name] = value
		return changed
	}
	tests := map[string]struct {
		authorizer jwt.Authorizer
		claims     object
		want       error
	}{
		"fine":                       {jwt.Authorizer{}, nil, nil},
		"expired":                    {jwt.Authorizer{}, object{"exp": in(-2 * time.Second)}, server.ErrInvalidToken},
		"expired within the leeway":  {jwt.Authorizer{Leeway: time.Minute}, object{"exp": in(-30 * time.Second)}, nil},
		"expired beyond it":          {jwt.Authorizer{Leeway: time.Minute}, object{"exp": in(-62 * time.Second)}, server.ErrInvalidToken},
		"no expiry":                  {jwt.Authorizer{}, object{"exp": nil}, server.ErrInvalidToken},
		"no expiry, allowed":         {jwt.Authorizer{AllowNoExpiry: true}, object{"exp": nil}, nil},
		"expired, though allowed":    {jwt.Authorizer{AllowNoExpiry: true}, object{"exp": in(-2 * time.Second)}, server.ErrInvalidToken},
		"expiry of text":             {jwt.Authorizer{}, object{"exp": "tomorrow"}, server.ErrInvalidToken},
		"not yet":                    {jwt.Authorizer{}, object{"nbf": in(time.Minute)}, server.ErrInvalidToken},
		"not yet, by the leeway":     {jwt.Authorizer{Leeway: 2 * time.Minute}, object{"nbf": in(time.Minute)}, nil},
		"issuer and audience":        {strict, fine, nil},
		"audience of one":            {strict, but("aud", "https://events.example"), nil},
		"another issuer":             {strict, but("iss", "https://issuer.example.evil"), server.ErrInvalidToken},
		"no issuer":                  {strict, object{"aud": "events"}, server.ErrInvalidToken},
		"another audience":           {strict, but("aud", "event"), server.ErrInvalidToken},
		"no audience":                {strict, object{"iss": "https://issuer.example"}, server.ErrInvalidToken},
		"audience of another server": {jwt.Authorizer{}, object{"aud": "somebody"}, server.ErrInvalidToken},
		"issuer that is not checked": {jwt.Authorizer{}, object{"iss": "whoever"}, nil},
		"another claim":              {jwt.Authorizer{Claim: "https://e.example/topics"}, object{"https://e.example/topics": object{"subscribe": []string{">"}}}, nil},
		"not that claim":             {jwt.Authorizer{Claim: "topics"}, nil, server.ErrForbidden},
		"no topics":                  {jwt.Authorizer{}, object{"events": nil}, server.ErrForbidden},
		"empty topics":               {jwt.Authorizer{}, object{"events": object{}}, server.ErrForbidden},
		"topics of null":             {jwt.Authorizer{}, object{"events": json.RawMessage("null")}, server.ErrForbidden},
		"topics of another shape":    {jwt.Authorizer{}, object{"events": []string{"news"}}, server.ErrInvalidToken},
		"topics as one text":         {jwt.Authorizer{}, object{"events": object{"subscribe": "news"}}, server.ErrInvalidToken},
		"invalid patterns":           {jwt.Authorizer{}, object{"events": object{"subscribe": []string{">.s", "", "new*"}}}, server.ErrForbidden},
		"too large":                  {jwt.Authorizer{MaxTokenBytes: 100}, nil, server.ErrInvalidToken},
		"too large by default":       {jwt.Authorizer{}, object{"x": strings.Repeat("x", 8<<10)}, server.ErrInvalidToken},
		"large without limit":        {jwt.Authorizer{MaxTokenBytes: -1}, object{"x": strings.Repeat("x", 8<<10)}, nil},
	}
	keys := secretKeys(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.authorizer.Keys = keys
			if _, err := test.authorizer.Authorize(bearer(hs256(t, test.claims)), subscribe("news")); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestGrant(t *testing.T) {
	expires := time.Unix(time.Now().Unix()+100, 0)
	tests := map[string]struct {
		authorizer jwt.Authorizer
		claims     object
		want       server.Grant // if Subject is empty, any other subject
	}{
		"expiry and subject": {jwt.Authorizer{}, object{"exp": expires.Unix(), "iss": "i"}, server.Grant{Expires: expires, Subject: "i ada"}},
		"with the leeway":    {jwt.Authorizer{Leeway: time.Minute}, object{"exp": expires.Unix()}, server.Grant{Expires: expires.Add(time.Minute), Subject: " ada"}},
		"without expiry":     {jwt.Authorizer{AllowNoExpiry: true}, object{"exp": nil}, server.Grant{Subject: " ada"}},
		"without subject":    {jwt.Authorizer{}, object{"exp": expires.Unix(), "sub": nil}, server.Grant{Expires: expires}},
		"expiry far away":    {jwt.Authorizer{}, object{"exp": 1e17}, server.Grant{Expires: time.Unix(1e17, 0), Subject: " ada"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.authorizer.Keys = secretKeys(t)
			token := hs256(t, test.claims)
			got, err := test.authorizer.Authorize(bearer(token), subscribe("news"))
			if err != nil {
				t.Fatal(err)
			}
			if test.want.Subject == "" && (got.Subject == "" || strings.Contains(token, got.Subject)) || test.want.Subject != "" && got.Subject != test.want.Subject {
				t.Errorf("subject %q", got.Subject)
			}
			if !got.Expires.Equal(test.want.Expires) {
				t.Errorf("expires %v, want %v", got.Expires, test.want.Expires)
			}
		})
	}
}

func TestAlgorithms(t *testing.T) {
	everyKey := bytes.Join([][]byte{pemOf(t, rsaKey.Public()), pemOf(t, ecKey.Public()), pemOf(t, edKey.Public())}, nil)
	all := parsed(t, everyKey)
	onlyRSA, onlyEC := parsed(t, pemOf(t, rsaKey.Public())), parsed(t, pemOf(t, ecKey.Public()))
	tests := map[string]struct {
		keys   *jwt.Keys
		method library.SigningMethod
		key    any
		header object
		want   error
	}{
		"HS256": {secretKeys(t), library.SigningMethodHS256, secret, nil, nil},
		"RS256": {all, library.SigningMethodRS256, rsaKey, nil, nil},
		"ES256": {all, library.SigningMethodES256, ecKey, nil, nil},
		"EdDSA": {all, library.SigningMethodEdDSA, edKey, nil, nil},

		"another secret":              {secretKeys(t), library.SigningMethodHS256, []byte("another"), nil, server.ErrInvalidToken},
		"another key":                 {all, library.SigningMethodRS256, smallRSAKey, nil, server.ErrInvalidToken},
		"none":                        {all, library.SigningMethodNone, library.UnsafeAllowNoneSignatureType, nil, server.ErrInvalidToken},
		"none, in capitals":           {all, library.SigningMethodNone, library.UnsafeAllowNoneSignatureType, object{"alg": "None"}, server.ErrInvalidToken},
		"longer hash":                 {secretKeys(t), library.SigningMethodHS512, secret, nil, server.ErrInvalidToken},
		"PS256 of the RSA key":        {all, library.SigningMethodPS256, rsaKey, nil, server.ErrInvalidToken},
		"RS512":                       {all, library.SigningMethodRS512, rsaKey, nil, server.ErrInvalidToken},
		"public key used as secret":   {onlyRSA, library.SigningMethodHS256, pemOf(t, rsaKey.Public()), nil, server.ErrInvalidToken},
		"key of another type":         {onlyEC, library.SigningMethodRS256, rsaKey, nil, server.ErrInvalidToken},
		"wrong algorithm":             {all, library.SigningMethodRS256, rsaKey, object{"alg": "ES256"}, server.ErrInvalidToken},
		"unknown algorithm":           {all, library.SigningMethodRS256, rsaKey, object{"alg": "RS257"}, server.ErrInvalidToken},
		"algorithm is not a string":   {all, library.SigningMethodRS256, rsaKey, object{"alg": 256}, server.ErrInvalidToken},
		"critical extension":          {all, library.SigningMethodRS256, rsaKey, object{"crit": []string{"b64"}, "b64": true}, server.ErrInvalidToken},
		"key id where keys have none": {all, library.SigningMethodRS256, rsaKey, object{"kid": "x"}, nil},
		"key id is not a string":      {all, library.SigningMethodRS256, rsaKey, object{"kid": []int{1}}, nil},
		"key in the token":            {onlyEC, library.SigningMethodEdDSA, edKey, object{"jwk": object{"kty": "OKP"}, "jku": "https://evil.example"}, server.ErrInvalidToken},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := &jwt.Authorizer{Keys: test.keys}
			token := sign(t, test.method, test.key, test.header, nil)
			if _, err := a.Authorize(bearer(token), subscribe("news")); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestMalformedTokens(t *testing.T) {
	good := hs256(t, nil)
	parts := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString
	a := &jwt.Authorizer{Keys: secretKeys(t), Cookie: "token"}
	for name, token := range map[string]string{
		"empty":              "",
		"text":               "secret",
		"dots":               "..",
		"two parts":          parts[0] + "." + parts[1],
		"four parts":         good + ".x",
		"no signature":       parts[0] + "." + parts[1] + ".",
		"part of it":         good[:len(good)-4],
		"padding":            good + "=",
		"header of null":     encode([]byte("null")) + "." + parts[1] + "." + parts[2],
		"header of text":     encode([]byte(`"alg"`)) + "." + parts[1] + "." + parts[2],
		"claims of null":     parts[0] + "." + encode([]byte("null")) + "." + parts[2],
		"other claims":       parts[0] + "." + encode([]byte(`{"events":{"subscribe":[">"]},"exp":9999999999}`)) + "." + parts[2],
		"last bits changed":  good[:len(good)-1] + string(good[len(good)-1]+1),
		"space":              good + " x",
		"two tokens":         good + "," + good,
		"an encrypted token": "a.b.c.d.e",
		"a prefix":           "x" + good,
	} {
		t.Run(name, func(t *testing.T) {
			for kind, r := range map[string]*http.Request{"header": bearer(token), "cookie": request("Cookie", "token="+token)} {
				if _, err := a.Authorize(r, subscribe("news")); !errors.Is(err, server.ErrInvalidToken) {
					t.Errorf("%s: %v", kind, err)
				}
			}
		})
	}
}

func TestTokenLocation(t *testing.T) {
	const listed, unlisted = "https://app.example", "https://evil.example"
	good, bad := hs256(t, nil), hs256(t, object{"exp": 1})
	tests := map[string]struct {
		method string
		header []string
		want   error
	}{
		"header":                        {"GET", []string{"Authorization", "Bearer " + good}, nil},
		"header, another case":          {"GET", []string{"Authorization", "bEARER   " + good}, nil},
		"header of any page":            {"GET", []string{"Authorization", "Bearer " + good, "Origin", unlisted, "Sec-Fetch-Site", "cross-site"}, nil},
		"nowhere":                       {"GET", nil, server.ErrUnauthenticated},
		"another scheme":                {"GET", []string{"Authorization", "Basic " + good}, server.ErrUnauthenticated},
		"another scheme, and cookie":    {"GET", []string{"Authorization", "Basic " + good, "Cookie", "t=" + good}, server.ErrUnauthenticated},
		"two headers":                   {"GET", []string{"Authorization", "Bearer " + good, "Authorization", "Bearer " + good}, server.ErrInvalidToken},
		"bad header, good cookie":       {"GET", []string{"Authorization", "Bearer " + bad, "Cookie", "t=" + good}, server.ErrInvalidToken},
		"good header, bad cookie":       {"GET", []string{"Authorization", "Bearer " + good, "Cookie", "t=" + bad}, nil},
		"empty header, good cookie":     {"GET", []string{"Authorization", "", "Cookie", "t=" + good}, server.ErrUnauthenticated},
		"cookie":                        {"GET", []string{"Cookie", "a=b; t=" + good}, nil},
		"cookie, bad":                   {"GET", []string{"Cookie", "t=" + bad}, server.ErrInvalidToken},
		"cookie, twice":                 {"GET", []string{"Cookie", "t=" + good + "; t=" + good}, server.ErrInvalidToken},
		"cookie of another name":        {"GET", []string{"Cookie", "T=" + good}, server.ErrUnauthenticated},
		"cookie, same origin":           {"GET", []string{"Cookie", "t=" + good, "Sec-Fetch-Site", "same-origin"}, nil},
		"cookie, by hand":               {"GET", []string{"Cookie", "t=" + good, "Sec-Fetch-Site", "none"}, nil},
		"cookie, same site":             {"GET", []string{"Cookie", "t=" + good, "Sec-Fetch-Site", "same-site"}, server.ErrUnauthenticated},
		"cookie, cross-site":            {"GET", []string{"Cookie", "t=" + good, "Sec-Fetch-Site", "cross-site"}, server.ErrUnauthenticated},
		"cookie, cross-site, a bad one": {"GET", []string{"Cookie", "t=" + bad, "Sec-Fetch-Site", "cross-site"}, server.ErrUnauthenticated},
		"cookie, listed origin":         {"GET", []string{"Cookie", "t=" + good, "Sec-Fetch-Site", "cross-site", "Origin", listed}, nil},
		"cookie, unlisted origin":       {"GET", []string{"Cookie", "t=" + good, "Sec-Fetch-Site", "cross-site", "Origin", unlisted}, server.ErrUnauthenticated},
		"cookie, old browser, own":      {"GET", []string{"Cookie", "t=" + good, "Origin", "https://events.example"}, nil},
		"cookie, old browser, other":    {"GET", []string{"Cookie", "t=" + good, "Origin", unlisted}, server.ErrUnauthenticated},
		"cookie, null":                  {"GET", []string{"Cookie", "t=" + good, "Sec-Fetch-Site", "cross-site", "Origin", "null"}, server.ErrUnauthenticated},
		"cookie, no origin, cross-site": {"GET", []string{"Cookie", "t=" + good, "Sec-Fetch-Site", "cross-site", "Origin", ""}, server.ErrUnauthenticated},
		"cookie, POST":                  {"POST", []string{"Cookie", "t=" + good, "Sec-Fetch-Site", "same-origin"}, nil},
		"cookie, POST, cross-site":      {"POST", []string{"Cookie", "t=" + good, "Sec-Fetch-Site", "cross-site"}, server.ErrUnauthenticated},
	}
	a := &jwt.Authorizer{Keys: secretKeys(t), Cookie: "t", AllowedOrigins: []string{listed, "null", ""}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := request(test.header...)
			r.Method = test.method
			if _, err := a.Authorize(r, subscribe("news")); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if r.Method != test.method {
				t.Error("the request was changed")
			}
		})
	}
	// A cookie without a name does not count.
	if _, err := (&jwt.Authorizer{Keys: a.Keys}).Authorize(request("Cookie", "t="+good+"; ="+good), subscribe("news")); !errors.Is(err, server.ErrUnauthenticated) {
		t.Errorf("got %v", err)
	}
}

// TestHandler checks what a token permits and forbids behind a handler, and the responses.
func TestHandler(t *testing.T) {
	a := &jwt.Authorizer{Keys: secretKeys(t)}
	h := &server.Handler{Broker: &server.Broker{}, Authorize: a.Authorize}
	tests := map[string]struct {
		method, target, token string
		status                int
		challenge             string
	}{
		"granted":   {"HEAD", "/?topic=news&topic=orders.*", hs256(t, nil), 200, ""},
		"all":       {"HEAD", "/", hs256(t, nil), 403, ""},
		"published": {"POST", "/", hs256(t, nil), 201, ""},
		"expired":   {"HEAD", "/?topic=news", hs256(t, object{"exp": 1}), 401, `Bearer realm="events", error="invalid_token"`},
		"garbage":   {"POST", "/", "x", 401, `Bearer realm="events", error="invalid_token"`},
		"unlisted":  {"POST", "/", hs256(t, object{"events": object{"subscribe": []string{">"}}}), 403, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.target, strings.NewReader("topic=orders.new"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Authorization", "Bearer "+test.token)
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			if answer.Code != test.status || answer.Header().Get("WWW-Authenticate") != test.challenge {
				t.Errorf("status %d, headers %v", answer.Code, answer.Header())
			}
		})
	}
}

func TestNoKeys(t *testing.T) {
	_, err := (&jwt.Authorizer{}).Authorize(bearer(hs256(t, nil)), subscribe("news"))
	if err == nil || errors.Is(err, server.ErrInvalidToken) || !strings.Contains(err.Error(), "Keys") {
		t.Errorf("got %v", err)
	}
}

// Only tokens that were signed with a key get a grant, whatever a request contains.
func FuzzAuthorize(f *testing.F) {
	good := hs256(f, object{"exp": time.Now().Add(1000 * time.Hour).Unix()})
	f.Add("Bearer "+good, "t="+good, "same-origin", "", "news")
	f.Add("", "t="+good, "cross-site", "https://evil.example", "orders.*")
	f.Add("bearer  "+good, "", "", "null", ">")
	f.Add("Bearer eyJhbGciOiJub25lIn0.eyJldmVudHMiOnsic3Vic2NyaWJlIjpbIj4iXX19.", "t=x; t=y", "none", "", "")
	a := &jwt.Authorizer{Keys: secretKeys(f), Cookie: "t"}
	f.Fuzz(func(t *testing.T, authorization, cookie, site, origin, topic string) {
		r := request("Cookie", cookie, "Sec-Fetch-Site", site, "Origin", origin)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		grant, err := a.Authorize(r, subscribe(topic))
		if err == nil && (!strings.Contains(authorization+cookie, good) || !server.Covers("orders.*", topic) && topic != "news") {
			t.Errorf("granted %+v", grant)
		}
		if err != nil && !slices.ContainsFunc([]error{server.ErrUnauthenticated, server.ErrInvalidToken, server.ErrForbidden}, func(known error) bool {
			return errors.Is(err, known)
		}) {
			t.Errorf("status 500: %v", err)
		}
	})
}

// BenchmarkAuthorize measures the cost of verifying a token, once per connection or publication.
func BenchmarkAuthorize(b *testing.B) {
	for _, benchmark := range []struct {
		method library.SigningMethod
		key    any
		keys   *jwt.Keys
	}{
		{library.SigningMethodHS256, secret, secretKeys(b)},
		{library.SigningMethodRS256, rsaKey, parsed(b, pemOf(b, rsaKey.Public()))},
		{library.SigningMethodES256, ecKey, parsed(b, pemOf(b, ecKey.Public()))},
		{library.SigningMethodEdDSA, edKey, parsed(b, pemOf(b, edKey.Public()))},
	} {
		b.Run(benchmark.method.Alg(), func(b *testing.B) {
			a := &jwt.Authorizer{Keys: benchmark.keys}
			r := bearer(sign(b, benchmark.method, benchmark.key, nil, nil))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authorize(r, subscribe("orders.x", "news")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
