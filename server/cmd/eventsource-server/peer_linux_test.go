package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// When a client vanishes, here by dropping everything that its socket receives, its stream ends after the server's next
// write, with every protocol.
func TestPeerVanishes(t *testing.T) {
	files := certify(t, t.TempDir(), "first")
	secure := []string{"-tls-cert", files.certificate, "-tls-key", files.key}
	http1 := func(p *http.Protocols) { p.SetHTTP1(true) }
	tests := map[string]struct {
		args  []string
		speak func(*http.Protocols)
	}{
		"HTTP/1.1":                   {nil, http1},
		"HTTP/1.1 without hijacking": {[]string{"-no-hijack"}, http1},
		"HTTP/1.1 over TLS":          {secure, http1},
		"HTTP/2 over TLS":            {secure, func(p *http.Protocols) { p.SetHTTP2(true) }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := launch(t, append([]string{"-public", ">", "-token", "secret", "-admin", "127.0.0.1:0", "-peer-timeout", "300ms"}, test.args...)...)
			reader := transport(t, test.speak)
			var conn net.Conn
			reader.DialContext = func(ctx context.Context, network, address string) (_ net.Conn, err error) {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
				return conn, err
			}
			request, _ := http.NewRequestWithContext(t.Context(), "GET", p.url+"/events", nil)
			response, err := reader.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			dropAll(t, conn.(*net.TCPConn))
			if err := publishOver(transport(t, test.speak), p.url); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(5 * time.Minute)
			for {
				if _, text := do(t, "GET", p.admin(t)+"/metrics", ""); strings.Contains(text, "\neventsource_connections 0\n") {
					return
				}
				if time.Now().After(deadline) {
					t.Fatal("the stream is still open after five minutes")
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

func dropAll(t *testing.T, conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // accepts 0 bytes of a packet
		program := unix.SockFprog{Len: 1, Filter: &nothing}
		if err := unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Error(err)
	}
}
