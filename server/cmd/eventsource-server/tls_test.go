package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// certify writes a certificate for localhost and its key, and returns the files.
func certify(t *testing.T, folder, name string) tlsFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Now().AddDate(50, 0, 0),
		DNSNames:     []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := tlsFiles{filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")}
	write(t, files.certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, files.key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	return files
}

// presented returns the server's certificate for the name.
func presented(t *testing.T, url, name string) *x509.Certificate {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// transport returns a transport for the protocols that set enables.
func transport(t *testing.T, set func(*http.Protocols)) *http.Transport {
	t.Helper()
	protocols := &http.Protocols{}
	set(protocols)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func TestProtocols(t *testing.T) {
	files := certify(t, t.TempDir(), "first")
	http1 := func(p *http.Protocols) { p.SetHTTP1(true) }
	http2 := func(p *http.Protocols) { p.SetHTTP2(true) }
	h2c := func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }
	tls := []string{"-tls-cert", files.certificate, "-tls-key", files.key}
	tests := map[string]struct {
		args  []string
		speak func(*http.Protocols)
		want  int // major version; 0: refused
	}{
		"HTTP/1.1":            {nil, http1, 1},
		"no h2c by default":   {nil, h2c, 0},
		"h2c":                 {[]string{"-h2c"}, h2c, 2},
		"HTTP/1.1 beside h2c": {[]string{"-h2c"}, http1, 1},
		"HTTP/1.1 over TLS":   {tls, http1, 1},
		"HTTP/2 over TLS":     {tls, http2, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := launch(t, append([]string{"-public", ">", "-token", "secret"}, test.args...)...)
			request, _ := http.NewRequestWithContext(t.Context(), "GET", p.url+"/events", nil)
			response, err := transport(t, test.speak).RoundTrip(request)
			if test.want == 0 {
				if err == nil {
					t.Errorf("status %d over %s", response.StatusCode, response.Proto)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.ProtoMajor != test.want || response.StatusCode != 200 {
				t.Errorf("status %d over %s", response.StatusCode, response.Proto)
			}
			if err := publishOver(transport(t, test.speak), p.url); err != nil {
				t.Error(err)
			}
			if !found(response.Body, "data: x") {
				t.Error("the event did not arrive")
			}
		})
	}
}

func publishOver(transport *http.Transport, url string) error {
	request, err := http.NewRequest("POST", url+"/events", strings.NewReader("topic=a&data=x"))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", form)
	request.Header.Set("Authorization", "Bearer secret")
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func TestHealthcheckOverTLS(t *testing.T) {
	files := certify(t, t.TempDir(), "first")
	env := environment("EVENTSOURCE_TLS_CERT", files.certificate, "EVENTSOURCE_TLS_KEY", files.key)
	p := launch(t, "-public", ">", "-tls-cert", files.certificate, "-tls-key", files.key)
	err := run(t.Context(), []string{"-healthcheck", "-addr", strings.TrimPrefix(p.url, "https://")}, env, io.Discard, io.Discard)
	if err != nil {
		t.Error(err)
	}
}

func TestSignalReloadsCertificate(t *testing.T) {
	folder := t.TempDir()
	files := certify(t, folder, "first")
	p, cmd := child(t, "-public", ">", "-tls-cert", files.certificate, "-tls-key", files.key)
	if got := presented(t, p.url, "localhost").Subject.CommonName; got != "first" {
		t.Errorf("presents %q", got)
	}
	certify(t, folder, "second")
	cmd.Process.Signal(syscall.SIGHUP)
	p.log.wait(t, "reloaded", "flag")
	if got := presented(t, p.url, "localhost").Subject.CommonName; got != "second" {
		t.Errorf("presents %q", got)
	}
}

// Without a signal, a handshake notices changed files. While only one of the two files has been replaced, the old pair is
// used.
func TestHandshakeReloadsCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		c := &certificates{files: certify(t, folder, "first"), logger: slog.New(slog.DiscardHandler)}
		if err := c.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := func(name string) {
			t.Helper()
			if pair, err := c.get(nil); err != nil || pair.Leaf.Subject.CommonName != name {
				t.Errorf("presents %v, %v, want %s", pair.Leaf.Subject, err, name)
			}
		}
		stamp := func(files tlsFiles, at time.Time) {
			t.Helper()
			for _, file := range []string{files.certificate, files.key} {
				if err := os.Chtimes(file, at, at); err != nil {
					t.Fatal(err)
				}
			}
		}
		first, _ := os.ReadFile(c.files.key)
		stamp(certify(t, folder, "second"), time.Unix(1, 0))
		second, _ := os.ReadFile(c.files.key)
		want("first") // not every handshake checks the files

		write(t, c.files.key, string(first))
		stamp(c.files, time.Unix(2, 0))
		time.Sleep(checkInterval)
		want("first")

		write(t, c.files.key, string(second))
		stamp(c.files, time.Unix(3, 0))
		want("first")
		time.Sleep(checkInterval)
		want("second")

		os.Remove(c.files.key)
		time.Sleep(checkInterval)
		want("second")
		if err := c.reload(t.Context()); err == nil {
			t.Error("reload succeeded without the files")
		}
	})
}

func TestUnreadableCertificate(t *testing.T) {
	err := run(t.Context(), []string{"-public", ">", "-tls-cert", "missing.pem", "-tls-key", "missing.key"}, environment("PORT", "0"), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "-tls-cert") || !strings.Contains(err.Error(), "missing.pem") {
		t.Errorf("run: %v", err)
	}
}

// The authority is Let's Encrypt's test server. It resolves the name, connects to the program, checks the proof and
// issues a certificate.
func TestACME(t *testing.T) {
	const name = "events.test"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().(*net.TCPAddr)
	listener.Close()
	cache := filepath.Join(t.TempDir(), "acme")
	authority := startAuthority(t, addr.Port)
	args := []string{"-public", ">", "-addr", addr.String(), "-acme-domains", name, "-acme-cache", cache,
		"-acme-directory", authority.URL + "/dir", "-acme-email", "ops@example.com"}
	p, cmd := child(t, args...)

	certificate := presented(t, p.url, name)
	if err := certificate.VerifyHostname(name); err != nil || !strings.Contains(certificate.Issuer.CommonName, "Pebble") {
		t.Fatalf("%v, issued by %s", err, certificate.Issuer)
	}
	if _, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true, ServerName: "other.test"}); err == nil {
		t.Error("the server got a certificate for a name that is not in -acme-domains")
	}
	err = run(t.Context(), append([]string{"-healthcheck"}, args...), environment(), io.Discard, io.Discard)
	if err != nil {
		t.Error(err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	authority.Close()
	p, _ = child(t, args...)
	if !presented(t, p.url, name).Equal(certificate) {
		t.Error("the certificate was not kept across a restart")
	}
}

// startAuthority serves the directory of an authority that validates names at a port of this machine, and makes child processes
// trust it.
func startAuthority(t *testing.T, port int) *httptest.Server {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	profiles := map[string]ca.Profile{"default": {Description: "the only one"}}
	authority := ca.New(quiet, store, "", "ecdsa", 0, 1, profiles)
	validation := va.New(quiet, 0, port, false, startDNS(t), store)
	front := wfe.New(quiet, store, validation, authority, []string{"authority.test"}, false, false, 1, 1)
	s := httptest.NewTLSServer(front.Handler())
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "authority.pem")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	t.Setenv("SSL_CERT_FILE", file) // for the child
	return s
}

// startDNS resolves every name to this machine.
func startDNS(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(r)
		if q := r.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
				A:   net.IPv4(127, 0, 0, 1),
			}}
		}
		w.WriteMsg(answer)
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return listener.Addr().String()
}
