package serve

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

func TestLocalHosts(t *testing.T) {
	local := []string{"localhost:81", "127.0.0.1:81", "[::1]:81"}
	for addr, more := range map[string][]string{
		":0":             nil,
		"0.0.0.0:0":      nil,
		"[::]:0":         nil,
		"events.lan:0":   {"events.lan:81"},
		"192.0.2.1:0":    {"192.0.2.1:81"},
		"[2001:db8::1]:": {"[2001:db8::1]:81"},
	} {
		if got := LocalHosts(addr, &net.TCPAddr{Port: 81}); !slices.Equal(got, append(local[:3:3], more...)) {
			t.Errorf("LocalHosts(%q) = %q, want the local hosts and %q", addr, got, more)
		}
	}
}

func TestOnlyHosts(t *testing.T) {
	h := OnlyHosts(LocalHosts("localhost:0", &net.TCPAddr{Port: 81}), http.NotFoundHandler())
	for host, want := range map[string]int{
		"localhost:81":         404,
		"LOCALHOST:81":         404,
		"127.0.0.1:81":         404,
		"[::1]:81":             404,
		"localhost":            421,
		"localhost:8":          421,
		"127.0.0.1.evil:81":    421,
		"evil.example:81":      421,
		"localhost:81.evil":    421,
		"localhost.evil:81":    421,
		"":                     421,
		"evil@localhost:81":    421,
		"127.0.0.1:81:81":      421,
		"127.0.0.2:81":         421,
		"[::ffff:7f00:1]:81":   421,
		"localhost:81,evil:81": 421,
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want || want == 421 && !strings.Contains(w.Body.String(), "-hosts") {
			t.Errorf("%s: status %d, %s", host, w.Code, w.Body)
		}
	}
}

func TestValidate(t *testing.T) {
	h := &server.Handler{Broker: &server.Broker{}, AllowedOrigins: []string{"https://A.example", "https://*.app.example"}, AllowedHeaders: []string{"a b"}, Hosts: []string{"http://a"}}
	err := Validate(h)
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{`-cors: "https://A.example"`, `-cors-headers: "a b"`, `-hosts: "http://a"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
	if err := Validate(&server.Handler{Broker: &server.Broker{}}); err != nil {
		t.Error(err)
	}
}
