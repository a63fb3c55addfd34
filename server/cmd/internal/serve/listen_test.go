package serve

import (
	"net"
	"testing"
)

func TestURL(t *testing.T) {
	listening := &net.TCPAddr{Port: 81}
	for addr, want := range map[string]string{
		"localhost:8080": "http://localhost:81",
		":0":             "http://localhost:81",
		"0.0.0.0:80":     "http://localhost:81",
		"[::]:80":        "http://localhost:81",
		"127.0.0.1:80":   "http://127.0.0.1:81",
		"[::1]:80":       "http://[::1]:81",
		"events.lan:80":  "http://events.lan:81",
	} {
		if got := URL(addr, listening, false); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}
