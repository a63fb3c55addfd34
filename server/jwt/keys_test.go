package jwt_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	library "github.com/golang-jwt/jwt/v5"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/jwt"
)

var encode = base64.RawURLEncoding.EncodeToString

func rsaJWK(key *rsa.PublicKey, more object) object {
	return with(object{"kty": "RSA", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())}, more)
}

func ecJWK(t testing.TB, key *ecdsa.PublicKey, curve string, more object) object {
	t.Helper()
	point, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	size := len(point) / 2
	return with(object{"kty": "EC", "crv": curve, "x": encode(point[1 : 1+size]), "y": encode(point[1+size:])}, more)
}

func edJWK(more object) object {
	return with(object{"kty": "OKP", "crv": "Ed25519", "x": encode(edKey[32:])}, more)
}

func octJWK(more object) object {
	return with(object{"kty": "oct", "k": encode(secret)}, more)
}

func with(o, more object) object {
	for name, value := range more {
		o[name] = value
	}
	return o
}

func setOf(t testing.TB, keys ...object) []byte {
	t.Helper()
	text, err := json.Marshal(object{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// accepts reports whether the keys verify a token that is signed in this way.
func accepts(t testing.TB, keys *jwt.Keys, method library.SigningMethod, key any, header object) bool {
	t.Helper()
	_, err := (&jwt.Authorizer{Keys: keys}).Authorize(bearer(sign(t, method, key, header, nil)), subscribe("news"))
	if err != nil && !errors.Is(err, server.ErrInvalidToken) {
		t.Fatal(err)
	}
	return err == nil
}

func TestSet(t *testing.T) {
	keys := parsed(t, setOf(t,
		object{"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "unknown curve"},
		object{"kty": "new", "kid": "unknown type"},
		object{"kty": "RSA", "kid": "no modulus"},
		rsaJWK(&smallRSAKey.PublicKey, object{"kid": "small"}),
		rsaJWK(&rsaKey.PublicKey, object{"kid": "encrypts", "use": "enc"}),
		rsaJWK(&rsaKey.PublicKey, object{"kid": "another algorithm", "alg": "PS256"}),
		ecJWK(t, &p384Key.PublicKey, "P-384", object{"kid": "another curve"}),
		ecJWK(t, &ecKey.PublicKey, "P-256", object{"kid": "wraps keys", "key_ops": []string{"wrapKey"}}),
		rsaJWK(&rsaKey.PublicKey, object{"kid": "r", "alg": "RS256", "use": "sig"}),
		ecJWK(t, &ecKey.PublicKey, "P-256", object{"kid": "e", "alg": "ES256", "key_ops": []string{"verify"}}),
		edJWK(nil),
		octJWK(object{"kid": "s", "alg": "HS256"}),
	))
	tests := map[string]struct {
		method library.SigningMethod
		key    any
		id     string
		want   bool
	}{
		"RSA":                  {library.SigningMethodRS256, rsaKey, "r", true},
		"RSA, no id":           {library.SigningMethodRS256, rsaKey, "", true},
		"RSA, another's id":    {library.SigningMethodRS256, rsaKey, "e", false},
		"RSA, unknown id":      {library.SigningMethodRS256, rsaKey, "x", false},
		"RSA, other algorithm": {library.SigningMethodRS256, rsaKey, "another algorithm", false},
		"RSA, for encryption":  {library.SigningMethodRS256, rsaKey, "encrypts", false},
		"small RSA":            {library.SigningMethodRS256, smallRSAKey, "small", false},
		"another algorithm":    {library.SigningMethodPS256, rsaKey, "another algorithm", false},
		"EC":                   {library.SigningMethodES256, ecKey, "e", true},
		"EC, for key wrapping": {library.SigningMethodES256, ecKey, "wraps keys", false},
		"another curve":        {library.SigningMethodES384, p384Key, "another curve", false},
		"Ed25519":              {library.SigningMethodEdDSA, edKey, "", true},
		"Ed25519, of any id":   {library.SigningMethodEdDSA, edKey, "x", true},
		"secret":               {library.SigningMethodHS256, secret, "s", true},
		"secret, RSA's id":     {library.SigningMethodHS256, secret, "r", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			header := object{}
			if test.id != "" {
				header["kid"] = test.id
			}
			if got := accepts(t, keys, test.method, test.key, header); got != test.want {
				t.Errorf("accepted: %t", got)
			}
		})
	}
}

func TestPEM(t *testing.T) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(nil, template, template, edKey.Public(), edKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	keys := parsed(t, bytes.Join([][]byte{
		[]byte("Public keys of the issuer:\n"),
		block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)),
		pemOf(t, ecKey.Public()),
		block("CERTIFICATE", der),
	}, nil))
	if !accepts(t, keys, library.SigningMethodRS256, rsaKey, nil) || !accepts(t, keys, library.SigningMethodES256, ecKey, nil) ||
		!accepts(t, keys, library.SigningMethodEdDSA, edKey, nil) {
		t.Error("a key is missing")
	}
	private, err := x509.MarshalPKCS8PrivateKey(edKey)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		text []byte
		want string
	}{
		"nothing":           {nil, "neither a JWK set nor PEM"},
		"text":              {[]byte("secret"), "neither a JWK set nor PEM"},
		"private key":       {block("PRIVATE KEY", private), "must be a public key"},
		"a private key too": {append(pemOf(t, edKey.Public()), block("PRIVATE KEY", private)...), "must be a public key"},
		"small RSA key":     {pemOf(t, smallRSAKey.Public()), "1024 bits, must have at least 2048"},
		"another curve":     {pemOf(t, p384Key.Public()), "P-384"},
		"broken key":        {block("PUBLIC KEY", der), `PEM block "PUBLIC KEY"`},
		"broken RSA key":    {block("RSA PUBLIC KEY", der), `PEM block "RSA PUBLIC KEY"`},
		"broken X.509":      {block("CERTIFICATE", private), "x509"},
		"set of nothing":    {[]byte(`{"keys":[]}`), "no usable keys"},
		"another object":    {[]byte(` {}`), `no "keys" array`},
		"set of null":       {[]byte(`{"keys":null}`), `no "keys" array`},
		"broken set":        {[]byte(`{"keys":`), "JWK set"},
		"keys not objects":  {[]byte(`{"keys":[1]}`), "JWK set"},
		"unusable keys":     {setOf(t, octJWK(object{"k": "c2hvcnQ"}), object{"kty": "new"}), "key 1: jwt: no usable keys: secret has 5 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := jwt.ParseKeys(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestSecret(t *testing.T) {
	if _, err := jwt.SecretKeys(secret[:31]); !errors.Is(err, jwt.ErrNoKeys) {
		t.Errorf("a short secret: %v", err)
	}
	mine := bytes.Clone(secret)
	keys, err := jwt.SecretKeys(mine)
	if err != nil {
		t.Fatal(err)
	}
	clear(mine) // callers may change their slice
	if !accepts(t, keys, library.SigningMethodHS256, secret, nil) {
		t.Error("the secret does not verify")
	}
}

func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, open := range map[string]func(string) (*jwt.Keys, error){"file": jwt.LoadKeys, "secret": jwt.LoadSecret} {
		if _, err := open(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: error %v, want %v", name, err, fs.ErrNotExist)
		}
	}
	write(append(secret, '\r', '\n'))
	shared, err := jwt.LoadSecret(path)
	if err != nil || !accepts(t, shared, library.SigningMethodHS256, secret, nil) {
		t.Fatalf("the secret of a file does not verify: %v", err)
	}
	write(pemOf(t, ecKey.Public()))
	keys, err := jwt.LoadKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	ec := func() bool { return accepts(t, keys, library.SigningMethodES256, ecKey, nil) }
	ed := func() bool { return accepts(t, keys, library.SigningMethodEdDSA, edKey, nil) }
	write(setOf(t, edJWK(nil)))
	if !ec() || ed() {
		t.Error("the file was read again without Reload")
	}
	if err := keys.Reload(t.Context()); err != nil || ec() || !ed() {
		t.Errorf("Reload did not read the file: %v", err)
	}
	for _, broken := range []string{"broken", "", `{"keys":`, `{"error":"later"}`, `{"keys":null}`, `{"keys":[1]}`} {
		write([]byte(broken))
		if err := keys.Reload(t.Context()); err == nil || errors.Is(err, jwt.ErrWithdrawn) || !ed() {
			t.Errorf("%q: Reload = %v, want an error, and the keys unchanged", broken, err)
		}
	}
	for _, withdrawn := range [][]byte{[]byte(`{"keys":[]}`), setOf(t, object{"kty": "new"}), setOf(t, octJWK(object{"k": "c2hvcnQ"}))} {
		write(setOf(t, edJWK(nil)))
		if err := keys.Reload(t.Context()); err != nil || !ed() {
			t.Errorf("the keys did not return: %v", err)
		}
		write(withdrawn)
		if err := keys.Reload(t.Context()); !errors.Is(err, jwt.ErrWithdrawn) || !errors.Is(err, jwt.ErrNoKeys) || ed() {
			t.Errorf("%s: Reload = %v, want %v, and no keys", withdrawn, err, jwt.ErrWithdrawn)
		}
	}
}

// An issuer can withdraw all its keys, and publish keys again later.
func TestFetchWithdrawnKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		set := setOf(t, edJWK(object{"kid": "1"}))
		i := &issuer{set: set}
		options := &jwt.FetchOptions{Client: &http.Client{Transport: i}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		keys, err := jwt.FetchKeys(t.Context(), setURL, options)
		if err != nil {
			t.Fatal(err)
		}
		want := func(accepted bool, warnings int) {
			t.Helper()
			accepts(t, keys, library.SigningMethodEdDSA, edKey, object{"kid": "1"}) // causes a fetch if one is due
			synctest.Wait()
			if got := accepts(t, keys, library.SigningMethodEdDSA, edKey, object{"kid": "1"}); got != accepted {
				t.Errorf("accepted: %t, want %t", got, accepted)
			}
			if n := strings.Count(log.String(), "rejecting all tokens"); n != warnings || strings.Count(log.String(), "\n") != warnings {
				t.Errorf("%d warnings, want %d:\n%s", n, warnings, &log)
			}
		}
		want(true, 0)
		i.serves(200, []byte(`{"keys":[]}`))
		time.Sleep(15 * time.Minute)
		want(false, 1)
		time.Sleep(time.Minute)
		want(false, 1) // and fetches again, as for any unknown key
		i.serves(200, set)
		time.Sleep(time.Minute)
		want(true, 1)
		i.serves(200, setOf(t, octJWK(nil))) // secrets do not count
		time.Sleep(15 * time.Minute)
		want(false, 2)
	})
}

// An issuer serves a JWK set without a network, in virtual time too.
type issuer struct {
	mu       sync.Mutex
	requests int
	status   int
	set      []byte
	delay    time.Duration
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.requests++
	i.mu.Unlock()
	select {
	case <-time.After(i.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	answer := httptest.NewRecorder()
	answer.WriteHeader(max(i.status, http.StatusOK))
	answer.Write(i.set)
	response := answer.Result()
	response.Request = r
	return response, nil
}

func (i *issuer) serves(status int, set []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.set = status, set
}

func (i *issuer) asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

const setURL = "https://issuer.example/keys?secret=x"

func TestFetchKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		i := &issuer{set: setOf(t, edJWK(object{"kid": "1"}), octJWK(nil))}
		options := &jwt.FetchOptions{Client: &http.Client{Transport: i}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		keys, err := jwt.FetchKeys(t.Context(), setURL, options)
		if err != nil {
			t.Fatal(err)
		}
		by := func(id string) bool {
			return accepts(t, keys, library.SigningMethodEdDSA, edKey, object{"kid": id})
		}
		step := func(name string, id string, accepted bool, requests int) {
			t.Helper()
			synctest.Wait() // until everything due at this instant is done
			got := by(id)
			synctest.Wait()
			if got != accepted || i.asked() != requests {
				t.Errorf("%s: accepted: %t after %d requests", name, got, i.asked())
			}
		}
		step("known key", "1", true, 1)
		if accepts(t, keys, library.SigningMethodHS256, secret, nil) {
			t.Error("a published secret is accepted")
		}
		i.serves(200, setOf(t, edJWK(object{"kid": "2"})))
		step("unknown key, just fetched", "2", false, 1)
		time.Sleep(30 * time.Second)
		step("unknown key", "2", true, 2)
		step("removed key", "1", false, 2)
		time.Sleep(30 * time.Second)
		step("removed key, fetched again", "1", false, 3)
		i.serves(503, nil)
		time.Sleep(15*time.Minute - time.Nanosecond)
		step("before Refresh", "2", true, 3)
		time.Sleep(time.Nanosecond)
		step("after Refresh, fetch fails", "2", true, 4)
		time.Sleep(30*time.Second - time.Nanosecond)
		step("after Refresh, just fetched", "2", true, 4)
		i.serves(200, setOf(t, edJWK(object{"kid": "3"})))
		i.delay = time.Second
		time.Sleep(time.Nanosecond)
		step("after Refresh, old keys until the fetch ends", "2", true, 5)
		time.Sleep(time.Second)
		step("renewed", "2", false, 5)
		step("renewed", "3", true, 5)
		if text := log.String(); !strings.Contains(text, "503") || strings.Contains(text, "secret") {
			t.Errorf("log %s", text)
		}
	})
}

// Requests with an unknown key wait for the set that is being fetched. One fetch serves all of them.
func TestConcurrentFetchIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{set: setOf(t, edJWK(object{"kid": "1"}))}
		keys, err := jwt.FetchKeys(t.Context(), setURL, &jwt.FetchOptions{Client: &http.Client{Transport: i}, Refresh: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		i.serves(200, setOf(t, edJWK(object{"kid": "2"})))
		i.delay = time.Second
		time.Sleep(time.Minute)
		var clients sync.WaitGroup
		for range 10 {
			clients.Go(func() {
				if !accepts(t, keys, library.SigningMethodEdDSA, edKey, object{"kid": "2"}) {
					t.Error("refused during the fetch")
				}
			})
		}
		clients.Wait()
		if i.asked() != 2 {
			t.Errorf("%d requests", i.asked())
		}
	})
}

// A client that disconnects does not cancel the fetch, because others wait for it.
func TestFetchIsNotCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{set: setOf(t, edJWK(object{"kid": "1"}))}
		keys, err := jwt.FetchKeys(t.Context(), setURL, &jwt.FetchOptions{Client: &http.Client{Transport: i}})
		if err != nil {
			t.Fatal(err)
		}
		i.serves(200, setOf(t, edJWK(object{"kid": "2"})))
		i.delay = time.Second
		time.Sleep(time.Minute)
		token := sign(t, library.SigningMethodEdDSA, edKey, object{"kid": "2"}, nil)
		ask := func(patience time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := (&jwt.Authorizer{Keys: keys}).Authorize(bearer(token).WithContext(ctx), subscribe("news"))
			return err
		}
		var clients sync.WaitGroup
		clients.Go(func() { ask(time.Second / 4) })
		synctest.Wait() // the fetch has the turn
		clients.Go(func() {
			begun := time.Now()
			if err := ask(time.Second / 2); err == nil || time.Since(begun) != time.Second/2 {
				t.Errorf("got %v after %v", err, time.Since(begun))
			}
		})
		clients.Go(func() {
			if err := ask(time.Minute); err != nil {
				t.Error(err)
			}
		})
		clients.Wait()
		if i.asked() != 2 {
			t.Errorf("%d requests", i.asked())
		}
	})
}

func TestFetchTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: &issuer{delay: time.Hour}}
		for want, o := range map[time.Duration]*jwt.FetchOptions{5 * time.Second: {Client: client}, time.Minute: {Client: client, Timeout: time.Minute}} {
			begun := time.Now()
			if _, err := jwt.FetchKeys(t.Context(), setURL, o); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != want {
				t.Errorf("%v after %v", err, time.Since(begun))
			}
		}
	})
}

func TestFetchKeysErrors(t *testing.T) {
	for address, want := range map[string]string{
		"http://issuer.example/keys": "must begin with https://",
		"file:///etc/keys":           "must begin with https://",
		"https:///keys":              "must begin with https://",
		"issuer.example":             "must begin with https://",
		"https://%zz?secret":         "malformed",
	} {
		if _, err := jwt.FetchKeys(t.Context(), address, nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("FetchKeys(%q) = %v, want %q without the secret", address, err, want)
		}
	}
}

func TestFetchKeysResponses(t *testing.T) {
	good := setOf(t, edJWK(nil))
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string // of the error; empty for none
	}{
		"set":       {func(w http.ResponseWriter, r *http.Request) { w.Write(good) }, ""},
		"not found": {http.NotFound, "404"},
		"HTML":      {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<!doctype html>") }, "JWK set"},
		"PEM":       {func(w http.ResponseWriter, r *http.Request) { w.Write(pemOf(t, edKey.Public())) }, "JWK set"},
		"secrets":   {func(w http.ResponseWriter, r *http.Request) { w.Write(setOf(t, octJWK(nil))) }, "no usable keys"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for _, err := w.Write(good); err == nil; _, err = fmt.Fprint(w, strings.Repeat(" ", 1<<16)) {
			}
		}, "larger than 1048576 bytes"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/here" {
				w.Write(good)
				return
			}
			http.Redirect(w, r, "/here", http.StatusFound)
		}, ""},
		"cut": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write(good)
		}, "EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(test.handler)
			defer s.Close()
			_, err := jwt.FetchKeys(t.Context(), s.URL, nil)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	if _, err := jwt.FetchKeys(t.Context(), gone.URL+"?secret", nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// A redirect must not lead to plain HTTP, where anyone on the network could respond.
func TestFetchRedirectedToHTTP(t *testing.T) {
	set := setOf(t, edJWK(nil))
	plain := roundTripper(func(r *http.Request) *http.Response {
		answer := httptest.NewRecorder()
		if r.URL.Scheme == "https" {
			http.Redirect(answer, r, "http://issuer.example/keys", http.StatusFound)
		} else {
			answer.Write(set)
		}
		return answer.Result()
	})
	if _, err := jwt.FetchKeys(t.Context(), setURL, &jwt.FetchOptions{Client: &http.Client{Transport: plain}}); err == nil || !strings.Contains(err.Error(), "not https") {
		t.Errorf("got %v", err)
	}
}

type roundTripper func(*http.Request) *http.Response

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	response := f(r)
	response.Request = r
	return response, nil
}

// Parsing keys never panics, and the keys verify no token that was not signed.
func FuzzParse(f *testing.F) {
	f.Add(pemOf(f, ecKey.Public()))
	f.Add(setOf(f, edJWK(object{"kid": "1"}), octJWK(nil), rsaJWK(&rsaKey.PublicKey, nil)))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"","e":"AAAA"},{"kty":"oct","k":""},{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}]}`))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n"))
	token := sign(f, library.SigningMethodHS256, []byte("a secret that is in no set of keys"), nil, nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := jwt.ParseKeys(text)
		if err != nil {
			return
		}
		if _, err := (&jwt.Authorizer{Keys: keys}).Authorize(bearer(token), subscribe("news")); !errors.Is(err, server.ErrInvalidToken) {
			t.Errorf("got %v", err)
		}
	})
}
