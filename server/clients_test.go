package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	issuer "github.com/golang-jwt/jwt/v5"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/jwt"
)

func networks(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestClientIP(t *testing.T) {
	proxies := networks("10.0.0.0/8", "fd00::/8", "127.0.0.1/32")
	tests := map[string]struct {
		remote    string
		forwarded []string
		trusted   []netip.Prefix
		want      string // empty: unknown
	}{
		"direct":                    {"192.0.2.1:5000", nil, nil, "192.0.2.1"},
		"direct, IPv6":              {"[2001:db8::1]:5000", nil, proxies, "2001:db8::1"},
		"mapped":                    {"[::ffff:192.0.2.1]:5000", nil, nil, "192.0.2.1"},
		"zone":                      {"[fe80::1%eth0]:5000", nil, nil, "fe80::1"},
		"no port":                   {"192.0.2.1", nil, nil, "192.0.2.1"},
		"Unix socket":               {"@", []string{"192.0.2.7"}, proxies, ""},
		"claim without proxies":     {"192.0.2.1:5000", []string{"198.51.100.1"}, nil, "192.0.2.1"},
		"claim of a client":         {"192.0.2.1:5000", []string{"198.51.100.1"}, proxies, "192.0.2.1"},
		"proxy":                     {"10.1.2.3:5000", []string{"192.0.2.1"}, proxies, "192.0.2.1"},
		"proxy, mapped":             {"[::ffff:10.1.2.3]:5000", []string{"192.0.2.1"}, proxies, "192.0.2.1"},
		"no header from the proxy":  {"10.1.2.3:5000", nil, proxies, "10.1.2.3"},
		"claim through a proxy":     {"10.1.2.3:5000", []string{"198.51.100.1, 192.0.2.1"}, proxies, "192.0.2.1"},
		"claim of a proxy":          {"10.1.2.3:5000", []string{"10.9.9.9, 192.0.2.1"}, proxies, "192.0.2.1"},
		"two proxies":               {"10.1.2.3:5000", []string{"192.0.2.1, fd00::7"}, proxies, "192.0.2.1"},
		"two headers":               {"127.0.0.1:5000", []string{"198.51.100.1, 192.0.2.1", "10.0.0.7"}, proxies, "192.0.2.1"},
		"proxies all the way":       {"127.0.0.1:5000", []string{"10.0.0.8,10.0.0.7"}, proxies, "10.0.0.8"},
		"with ports":                {"127.0.0.1:5000", []string{"192.0.2.1:80, [fd00::7]:443"}, proxies, "192.0.2.1"},
		"mapped in the header":      {"127.0.0.1:5000", []string{"::ffff:192.0.2.1"}, proxies, "192.0.2.1"},
		"no address":                {"127.0.0.1:5000", []string{"192.0.2.1, unknown"}, proxies, "127.0.0.1"},
		"no address before another": {"127.0.0.1:5000", []string{"unknown, 10.0.0.7"}, proxies, "10.0.0.7"},
		"empty elements":            {"127.0.0.1:5000", []string{"192.0.2.1,,"}, proxies, "127.0.0.1"},
		"empty header":              {"127.0.0.1:5000", []string{""}, proxies, "127.0.0.1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: test.remote, Header: http.Header{"X-Forwarded-For": test.forwarded}}
			got := server.ClientIP(r, test.trusted)
			if got.IsValid() != (test.want != "") || got.IsValid() && got != netip.MustParseAddr(test.want) {
				t.Errorf("got %v, want %q", got, test.want)
			}
		})
	}
}

// Whatever a client claims, ClientIP returns the address of the connection, or one that a trusted proxy has added.
func FuzzClientIP(f *testing.F) {
	f.Add("192.0.2.1:5000", "198.51.100.1", "10.0.0.1")
	f.Add("10.0.0.1:1", "1.2.3.4,, ::ffff:10.0.0.2", "[fd00::1]:80")
	f.Add("", "%", "::%eth0")
	proxies := networks("10.0.0.0/8", "fd00::/8")
	f.Fuzz(func(t *testing.T, remote, first, second string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {first, second}}}
		direct, got := server.ClientIP(r, nil), server.ClientIP(r, proxies)
		if got.Zone() != "" || got.Is4In6() || got.IsValid() != direct.IsValid() {
			t.Errorf("got %v of %v", got, direct)
		}
		if got != direct && !proxies[0].Contains(direct) && !proxies[1].Contains(direct) {
			t.Errorf("the client at %v made ClientIP return %v", direct, got)
		}
	})
}

// ask sends a HEAD, which is refused like a stream, from an address.
func ask(h http.Handler, remote string, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodHead, "/", nil)
	request.RemoteAddr = remote
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, request)
	return answer
}

// from sets the remote address of requests to the address in a header.
func from(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = r.Header.Get("From-Address")
		h.ServeHTTP(w, r)
	})
}

func TestConnectionsPerIP(t *testing.T) { onEachPath(t, testConnectionsPerIP) }

func testConnectionsPerIP(t *testing.T, noHijack bool) {
	broker := &server.Broker{MaxConnectionsPerIP: 2}
	h := &server.Handler{Broker: broker, NoHijack: noHijack, TrustedProxies: networks("10.0.0.0/8")}
	url := start(t, from(h))
	var in []*client
	for _, address := range []string{"192.0.2.1:1", "192.0.2.1:2", "[2001:db8::1]:1", "[2001:db8::2]:1"} {
		in = append(in, opened(t, url, "From-Address", address))
	}
	tests := map[string]struct {
		remote string
		header []string
		status int
	}{
		"full":                {"192.0.2.1:3", nil, 429},
		"mapped":              {"[::ffff:192.0.2.1]:3", nil, 429},
		"same /64":            {"[2001:db8::ffff:1:2:3]:1", nil, 429},
		"another /64":         {"[2001:db8:0:1::1]:1", nil, 200},
		"another":             {"192.0.2.2:1", nil, 200},
		"claims another":      {"192.0.2.1:3", []string{"X-Forwarded-For", "192.0.2.9"}, 429},
		"through a proxy":     {"10.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.1"}, 429},
		"another, by a proxy": {"10.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.2"}, 200},
		"on a Unix socket":    {"@", nil, 200},
		"claims, by a proxy":  {"10.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.9, 192.0.2.1"}, 429},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer := ask(h, test.remote, test.header...)
			if answer.Code != test.status || (answer.Header().Get("Retry-After") == "5") != (test.status == 429) {
				t.Errorf("status %d, headers %v", answer.Code, answer.Header())
			}
		})
	}
	// Open streams continue.
	publish(t, broker, "t", "event")
	for _, c := range in {
		c.next()
		c.wantData("event")
	}
	if got := broker.Stats().Connections; got != int64(len(in)) {
		t.Errorf("%d connections, want %d", got, len(in))
	}
}

func TestConnectionsPerSubject(t *testing.T) { onEachPath(t, testConnectionsPerSubject) }

func testConnectionsPerSubject(t *testing.T, noHijack bool) {
	broker := &server.Broker{MaxConnectionsPerSubject: 1, MaxConnectionsPerIP: 100}
	h := &server.Handler{Broker: broker, NoHijack: noHijack, Authorize: bySubject}
	url := start(t, h)
	first := opened(t, url, "Authorization", "a")
	opened(t, url, "Authorization", "b")
	for range 3 {
		opened(t, url) // without a subject
	}
	if c := open(t, url, "Authorization", "a"); c.response.StatusCode != 429 || c.response.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, headers %v", c.response.StatusCode, c.response.Header)
	}
	// A stream that ends releases its quota.
	first.cancel()
	wantConnections(t, broker, 4)
	opened(t, url, "Authorization", "a")
}

// A quota is released after every refusal and every end of a stream.
func TestQuotasAreReleased(t *testing.T) {
	broker := &server.Broker{MaxConnections: 1, MaxConnectionsPerIP: 1, MaxConnectionsPerSubject: 1}
	h := &server.Handler{Broker: broker, Authorize: bySubject}
	for _, subject := range []string{"a", "b", "a"} {
		if answer := ask(h, "192.0.2.1:1", "Authorization", subject); answer.Code != http.StatusOK {
			t.Errorf("status %d", answer.Code)
		}
	}
	opened(t, start(t, from(h)), "From-Address", "192.0.2.1:1", "Authorization", "a")
	for range 3 {
		if answer := ask(h, "192.0.2.2:1", "Authorization", "b"); answer.Code != http.StatusServiceUnavailable {
			t.Errorf("status %d", answer.Code)
		}
	}
	if got := broker.Stats().Connections; got != 1 {
		t.Errorf("%d connections", got)
	}
}

// When its grant expires, a stream ends between two events, whether it is silent or not.
func TestGrantExpires(t *testing.T) {
	for name, interval := range map[string]time.Duration{"silent": time.Hour, "busy": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := &server.Broker{}
				begun := time.Now()
				h := &server.Handler{Broker: broker, Logger: quiet, Heartbeat: -1}
				h.Authorize = func(*http.Request, server.Access) (server.Grant, error) {
					return server.Grant{Expires: begun.Add(time.Minute)}, nil
				}
				network, done := serveBubble(t, h, &http.Server{})
				c := network.get(t, "/")
				c.next()
				go func() {
					for range 100 {
						time.Sleep(interval)
						publish(t, broker, "t", "event")
					}
				}()
				for {
					b, err := c.read()
					if err != nil {
						break
					}
					if b["data"] != "event" {
						t.Errorf("got %v", b)
					}
				}
				c.wantEnd()
				<-done
				if got := time.Since(begun); got != time.Minute {
					t.Errorf("ended after %v", got)
				}
				time.Sleep(100 * interval)
			})
		})
	}
}

// A stream with a backlog ends when its grant expires, too.
func TestGrantExpiresWithBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &server.Broker{}
		begun := time.Now()
		h := &server.Handler{Broker: broker, Logger: quiet, MaxLag: -1, WriteTimeout: -1}
		h.Authorize = func(*http.Request, server.Access) (server.Grant, error) {
			return server.Grant{Expires: begun.Add(time.Minute)}, nil
		}
		network, done := serveBubble(t, h, &http.Server{})
		large := strings.Repeat("x", 70_000) // so that each is a write of its own
		id := publish(t, broker, "t", slices.Repeat([]string{large}, 100)...)
		c := network.get(t, "/", "Last-Event-ID", epochOf(id)+"-0")
		events := 0
		for {
			b, err := c.read()
			if err != nil {
				break
			}
			if b["data"] == large {
				events++
			}
			time.Sleep(time.Second)
		}
		<-done
		if lasted := time.Since(begun); lasted < time.Minute || lasted > 65*time.Second || events < 60 || events > 65 {
			t.Errorf("%d events in %v", events, lasted)
		}
	})
}

// On every path, a stream ends cleanly when its grant expires, not earlier, and its quota is released.
func TestGrantExpiresOnEveryPath(t *testing.T) {
	for name, noHijack := range map[string]bool{"hijacked": false, "not hijacked": true} {
		t.Run(name, func(t *testing.T) {
			expires := time.Now().Add(200 * time.Millisecond)
			h := &server.Handler{
				Broker:   &server.Broker{MaxConnectionsPerSubject: 1, MaxConnectionsPerIP: 1},
				NoHijack: noHijack,
				Logger:   quiet,
				Authorize: func(r *http.Request, _ server.Access) (server.Grant, error) {
					if r.Header.Get("Authorization") == "for ever" {
						return server.Grant{Subject: "a"}, nil
					}
					return server.Grant{Subject: "a", Expires: expires}, nil
				},
			}
			url := start(t, h)
			c := opened(t, url)
			c.next() // an id to resume from
			c.wantEnd()
			if now := time.Now(); now.Before(expires) {
				t.Errorf("ended %v before the grant", expires.Sub(now))
			}
			// The client may see the end before the broker counts it.
			for deadline := time.Now().Add(patience); open(t, url, "Authorization", "for ever").response.StatusCode != http.StatusOK; {
				if time.Now().After(deadline) {
					t.Fatal("the quota of the ended stream was not released")
				}
			}
			if c := open(t, url, "Authorization", "for ever"); c.response.StatusCode != http.StatusTooManyRequests {
				t.Errorf("a second stream: status %d", c.response.StatusCode)
			}
		})
	}
}

func TestExpiredGrant(t *testing.T) {
	h := &server.Handler{Broker: &server.Broker{}, Authorize: func(*http.Request, server.Access) (server.Grant, error) {
		return server.Grant{Expires: time.Now().Add(-time.Second)}, nil
	}}
	c := opened(t, start(t, h))
	c.next() // an id to resume from
	c.wantEnd()
}

// When a token expires, its stream ends. The token opens no other stream. With a new token, the client resumes without
// losses or duplicates.
func TestTokenExpiresMidStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := []byte("a secret of 32 bytes, or of more")
		keys, err := jwt.SecretKeys(secret)
		if err != nil {
			t.Fatal(err)
		}
		token := func(lasts time.Duration) string {
			text, err := issuer.NewWithClaims(issuer.SigningMethodHS256, issuer.MapClaims{
				"exp":    time.Now().Add(lasts).Unix(),
				"events": map[string]any{"subscribe": []string{"t.*"}},
			}).SignedString(secret)
			if err != nil {
				t.Fatal(err)
			}
			return "Bearer " + text
		}
		broker := &server.Broker{}
		tokens := &jwt.Authorizer{Keys: keys, Leeway: 10 * time.Second}
		network, done := serveBubble(t, &server.Handler{Broker: broker, Authorize: tokens.Authorize, Logger: quiet}, &http.Server{})
		begun, first := time.Now(), token(time.Minute)
		c := network.get(t, "/?topic=t.*", "Authorization", first)
		id := c.next()["id"]
		go func() {
			for i := range 10 {
				publish(t, broker, "t.x", fmt.Sprint(i))
				time.Sleep(10 * time.Second)
			}
		}()
		var got []string
		read := func() {
			for {
				b, err := c.read()
				if err != nil {
					return
				}
				if data, ok := b["data"]; ok {
					got, id = append(got, data), b["id"]
				}
			}
		}
		read()
		<-done
		if after := time.Since(begun); after != 70*time.Second { // the leeway included
			t.Errorf("the stream ended after %v", after)
		}
		if again := network.get(t, "/?topic=t.*", "Authorization", first, "Last-Event-ID", id); again.response.StatusCode != http.StatusUnauthorized {
			t.Errorf("the old token: status %d", again.response.StatusCode)
		}
		c = network.get(t, "/?topic=t.*", "Authorization", token(time.Minute), "Last-Event-ID", id)
		read()
		<-done
		if want := strings.Split("0 1 2 3 4 5 6 7 8 9", " "); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
