package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

func TestAccessControl(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "secret\n")
	const bearer, wrong = "Bearer secret", "Bearer x"
	tests := map[string]struct {
		args                        []string
		method, path, authorization string
		status                      int
	}{
		"a reader with the token":     {[]string{"-token", "secret"}, "GET", "/events?topic=a", bearer, 200},
		"a reader without":            {[]string{"-token", "secret"}, "GET", "/events?topic=a", "", 401},
		"a reader with another":       {[]string{"-token", "secret"}, "GET", "/events?topic=a", wrong, 401},
		"a publisher with the token":  {[]string{"-token", "secret"}, "POST", "/events", bearer, 201},
		"a publisher without":         {[]string{"-token", "secret"}, "POST", "/events", "", 401},
		"the token of a file":         {[]string{"-token-file", file}, "POST", "/events", bearer, 201},
		"another than the file's":     {[]string{"-token-file", file}, "POST", "/events", wrong, 401},
		"a public topic":              {[]string{"-public", "news.*"}, "GET", "/events?topic=news.eu", "", 200},
		"a public pattern":            {[]string{"-public", "news.*"}, "GET", "/events?topic=news.*", "", 200},
		"more than a public pattern":  {[]string{"-public", "news.*"}, "GET", "/events?topic=news.>", "", 401},
		"one of two is public":        {[]string{"-public", "news.*"}, "GET", "/events?topic=news.eu&topic=a", "", 401},
		"all topics":                  {[]string{"-public", "news.*"}, "GET", "/events", "", 401},
		"all topics, all public":      {[]string{"-public", ">"}, "GET", "/events", "", 200},
		"all topics, two public":      {[]string{"-public", "a,b", "-topics", "a,b"}, "GET", "/events", "", 200},
		"public topics are read-only": {[]string{"-public", ">"}, "POST", "/events", "", 401},
		"wrong token, public topic":   {[]string{"-public", ">", "-token", "secret"}, "GET", "/events", wrong, 401},
		"token, public topic":         {[]string{"-public", "news.*", "-token", "secret"}, "GET", "/events", bearer, 200},
		"an unknown topic":            {[]string{"-token", "secret", "-topics", "b"}, "GET", "/events?topic=a", bearer, 404},
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

const jwtSecret = "0123456789abcdef0123456789abcdef"

// signed returns a token with the claims, for an hour.
func signed(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	token, err := jwt.NewWithClaims(method, all).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + token
}

func lists(subscribe, publish string) map[string][]string {
	return map[string][]string{"subscribe": {subscribe}, "publish": {publish}}
}

func TestTokensOfAnIssuer(t *testing.T) {
	folder := t.TempDir()
	secret, keys := filepath.Join(folder, "secret"), filepath.Join(folder, "keys.pem")
	write(t, secret, jwtSecret+"\n")
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	write(t, keys, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	bySecret := []string{"-jwt-secret-file", secret, "-jwt-issuer", "us", "-jwt-audience", "events,other"}
	claims := func(change jwt.MapClaims) jwt.MapClaims {
		all := jwt.MapClaims{"iss": "us", "aud": "events", "sub": "ada", "events": lists("a.*", "a.b")}
		maps.Copy(all, change)
		return all
	}
	hmac := func(change jwt.MapClaims) string {
		return signed(t, jwt.SigningMethodHS256, []byte(jwtSecret), claims(change))
	}
	tests := map[string]struct {
		args                        []string
		method, path, authorization string
		status                      int
	}{
		"subscribes":              {bySecret, "GET", "/events?topic=a.b", hmac(nil), 200},
		"subscribes, other topic": {bySecret, "GET", "/events?topic=b", hmac(nil), 403},
		"publishes":               {bySecret, "POST", "/events", hmac(nil), 201},
		"publishes, other topic":  {bySecret, "POST", "/events", hmac(jwt.MapClaims{"events": lists("a.b", "c")}), 403},
		"another issuer":          {bySecret, "GET", "/events?topic=a.b", hmac(jwt.MapClaims{"iss": "them"}), 401},
		"another audience":        {bySecret, "GET", "/events?topic=a.b", hmac(jwt.MapClaims{"aud": "shop"}), 401},
		"expired":                 {bySecret, "GET", "/events?topic=a.b", hmac(jwt.MapClaims{"exp": 1}), 401},
		"leeway":                  {append(bySecret, "-jwt-leeway", "1h"), "GET", "/events?topic=a.b", hmac(jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()}), 200},
		"another's key":           {bySecret, "GET", "/events?topic=a.b", signed(t, jwt.SigningMethodHS256, []byte("x"), claims(nil)), 401},
		"by a key of a file":      {[]string{"-jwt-keys", keys}, "GET", "/events?topic=a.b", signed(t, jwt.SigningMethodEdDSA, private, jwt.MapClaims{"events": lists("a.*", "a.b")}), 200},
		"beside a token":          {append(bySecret, "-token", "secret"), "GET", "/events?topic=a.b", hmac(nil), 200},
		"the token beside":        {append(bySecret, "-token", "secret"), "GET", "/events?topic=b", "Bearer secret", 200},
		"wrong token beside":      {append(bySecret, "-token", "secret"), "GET", "/events?topic=b", "Bearer x", 401},
		"public topic beside":     {append(bySecret, "-public", "b"), "GET", "/events?topic=b", hmac(nil), 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := launch(t, test.args...)
			response, body := do(t, test.method, p.url+test.path, "topic=a.b&data=x", "Authorization", test.authorization)
			if response.StatusCode != test.status {
				t.Errorf("status %d, want %d: %s", response.StatusCode, test.status, body)
			}
		})
	}
	t.Run("in a cookie", func(t *testing.T) {
		p := launch(t, append(bySecret, "-jwt-cookie", "session")...)
		response, _ := do(t, "GET", p.url+"/events?topic=a.b", "", "Cookie", "session="+strings.TrimPrefix(hmac(nil), "Bearer "))
		if response.StatusCode != 200 {
			t.Errorf("status %d", response.StatusCode)
		}
	})
}

func TestKeysFromURL(t *testing.T) {
	set := `{"keys":[]}`
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, set) }))
	defer issuer.Close()
	args := []string{"-jwt-keys", issuer.URL}
	if err := run(t.Context(), args, environment("PORT", "0"), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "-jwt-keys") {
		t.Errorf("starts without a key: %v", err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	set = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}]}`
	p := launch(t, args...)
	token := signed(t, jwt.SigningMethodEdDSA, private, jwt.MapClaims{"events": lists("a", "")})
	if response, _ := do(t, "GET", p.url+"/events?topic=a", "", "Authorization", token); response.StatusCode != 200 {
		t.Errorf("status %d", response.StatusCode)
	}
}

// Keys that were removed from their file are no longer valid after a reload.
func TestReloadWithdrawsKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"`+base64.RawURLEncoding.EncodeToString(public)+`"}]}`)
	p, cmd := child(t, "-jwt-keys", file)
	token := signed(t, jwt.SigningMethodEdDSA, private, jwt.MapClaims{"events": lists("a", "")})
	want := func(status int) {
		t.Helper()
		if response, _ := do(t, "GET", p.url+"/events?topic=a", "", "Authorization", token); response.StatusCode != status {
			t.Errorf("status %d, want %d", response.StatusCode, status)
		}
	}
	want(200)
	write(t, file, `{"keys":[]}`)
	cmd.Process.Signal(syscall.SIGHUP)
	p.log.wait(t, "JWK set has no usable keys: rejecting all tokens", "error")
	want(401)
}

func TestTickets(t *testing.T) {
	p := launch(t, "-token", "secret", "-tickets")
	_, body := do(t, "POST", p.url+"/ticket?topic=a", "", "Authorization", "Bearer secret")
	var answer struct{ Ticket string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Ticket == "" {
		t.Fatalf("%v: %s", err, body)
	}
	if response, _ := do(t, "GET", p.url+"/events?ticket="+answer.Ticket, ""); response.StatusCode != 200 {
		t.Errorf("status %d", response.StatusCode)
	}
	if response, _ := do(t, "POST", p.url+"/ticket", ""); response.StatusCode != 401 {
		t.Errorf("status %d without a token", response.StatusCode)
	}
	without := launch(t, "-token", "secret")
	if response, _ := do(t, "POST", without.url+"/ticket", "", "Authorization", "Bearer secret"); response.StatusCode != 404 {
		t.Errorf("status %d without -tickets", response.StatusCode)
	}
}

func TestHosts(t *testing.T) {
	p := launch(t, "-token", "secret", "-tickets", "-hosts", "events.example,*.app.example:8443")
	for host, want := range map[string]int{"events.example": 201, "EVENTS.example:1": 201, "a.b.app.example:8443": 201, "app.example:8443": 421, "a.app.example:1": 421, "evil.example": 421} {
		for _, path := range []string{"/events", "/ticket?topic=a"} {
			response, body := do(t, "POST", p.url+path, "topic=a&data=x", "Host", host, "Authorization", "Bearer secret")
			if response.StatusCode != want && (want == 421 || response.StatusCode >= 300) {
				t.Errorf("%s at %s: status %d, want %d: %s", path, host, response.StatusCode, want, body)
			}
		}
	}
	if response, _ := do(t, "GET", p.url+"/healthz", "", "Host", "10.0.0.1"); response.StatusCode != 200 {
		t.Errorf("a health check by address: status %d", response.StatusCode)
	}
}

func TestOrigins(t *testing.T) {
	p := launch(t, "-public", ">", "-cors", "https://*.app.example", "-cors-headers", "X-Tenant,traceparent")
	for origin, want := range map[string]bool{"https://a.app.example": true, "https://a.b.app.example": true, "https://app.example": false, "https://evilapp.example": false, "https://a.app.example.evil": false, "http://a.app.example": false} {
		response, _ := do(t, "OPTIONS", p.url+"/events", "", "Origin", origin, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "x-tenant")
		allowed := response.Header.Get("Access-Control-Allow-Origin") == origin && strings.Contains(response.Header.Get("Access-Control-Allow-Headers"), "X-Tenant, traceparent")
		if allowed != want {
			t.Errorf("origin %s: allowed = %v, want %v; headers %v", origin, allowed, want, response.Header)
		}
	}
}

func TestPublishRate(t *testing.T) {
	p := launch(t, "-token", "secret", "-publish-rate", "0.001", "-publish-burst", "2")
	for i, want := range []int{201, 201, 429} {
		response, _ := do(t, "POST", p.url+"/events", "topic=a", "Authorization", "Bearer secret")
		if response.StatusCode != want || (response.Header.Get("Retry-After") != "") != (want == 429) {
			t.Errorf("%d: status %d, want %d, %v", i, response.StatusCode, want, response.Header)
		}
	}
}

// Each kind of credentials is recognized by its own authorizer only.
func TestKindsOfCredentials(t *testing.T) {
	broken := errors.New("broken")
	says := func(err error) authorizer {
		return func(*http.Request, server.Access) (server.Grant, error) { return server.Grant{Subject: "x"}, err }
	}
	tests := map[string]struct {
		ways []authorizer
		want error
	}{
		"none":                 {nil, server.ErrUnauthenticated},
		"the second":           {[]authorizer{says(server.ErrInvalidToken), says(nil)}, nil},
		"first recognizes it":  {[]authorizer{says(server.ErrInvalidToken), says(server.ErrUnauthenticated)}, server.ErrInvalidToken},
		"second recognizes it": {[]authorizer{says(server.ErrInvalidToken), says(server.ErrForbidden)}, server.ErrForbidden},
		"a failure":            {[]authorizer{says(server.ErrUnauthenticated), says(broken)}, broken},
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
		if _, err := newAccess(t.Context(), c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "-token-file") || !strings.Contains(err.Error(), file) {
			t.Errorf("got %v", err)
		}
	}
}
