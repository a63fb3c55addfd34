package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// checkInterval is the minimum interval at which a handshake checks the certificate files for changes.
const checkInterval = 10 * time.Second

// newTLS returns nil for a server without TLS.
func newTLS(ctx context.Context, c *config, logger *slog.Logger) (*tls.Config, []source, error) {
	switch {
	case len(c.acme.domains) > 0:
		return c.acme.config(), nil, nil
	case c.tls.certificate == "":
		return nil, nil, nil
	}
	own := &certificates{files: c.tls, logger: logger}
	files := source{"tls-cert", own.reload}
	if err := files.read(ctx); err != nil {
		return nil, nil, err
	}
	return &tls.Config{GetCertificate: own.get}, []source{files}, nil
}

type tlsFiles struct{ certificate, key string }

func (t *tlsFiles) flags(f *flag.FlagSet) {
	f.StringVar(&t.certificate, "tls-cert", "", "`file` with the certificate chain in PEM, reloaded when it changes (default no TLS)")
	f.StringVar(&t.key, "tls-key", "", "`file` with the private key in PEM")
}

func (t *tlsFiles) validate() error {
	if (t.certificate == "") != (t.key == "") {
		return errors.New("-tls-cert and -tls-key must be set together")
	}
	return nil
}

// certificates serves the current certificate of two files.
type certificates struct {
	files  tlsFiles
	logger *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	version [2]time.Time // modification times at the last check
	checked time.Time
}

// reload loads the files. If that fails, the old certificate stays.
func (c *certificates) reload(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

func (c *certificates) read() error {
	c.checked, c.version = time.Now(), c.modified()
	pair, err := tls.LoadX509KeyPair(c.files.certificate, c.files.key)
	if err != nil {
		return err
	}
	c.current = &pair
	c.logger.Info("certificate loaded", "names", pair.Leaf.DNSNames, "expires", pair.Leaf.NotAfter)
	return nil
}

func (c *certificates) modified() (version [2]time.Time) {
	for i, file := range []string{c.files.certificate, c.files.key} {
		if info, err := os.Stat(file); err == nil {
			version[i] = info.ModTime()
		}
	}
	return version
}

// get is a [tls.Config.GetCertificate]. While the certificate and the key do not match, because only one file was
// replaced yet, it returns the old pair.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) >= checkInterval {
		c.checked = time.Now()
		if c.modified() != c.version {
			if err := c.read(); err != nil {
				c.logger.Error("cannot load the certificate: keeping the old one", "error", err)
			}
		}
	}
	return c.current, nil
}

// An acmeAccount gets certificates from an ACME authority. This server must be reachable at port 443 of its names.
type acmeAccount struct {
	domains                 list
	cache, email, directory string
}

func (a *acmeAccount) flags(f *flag.FlagSet) {
	f.Var(&a.domains, "acme-domains", "comma-separated `names` to get certificates for; setting it accepts the authority's terms (default no ACME)")
	f.StringVar(&a.cache, "acme-cache", "", "`folder` for the certificates and the account key")
	f.StringVar(&a.email, "acme-email", "", "contact `address` for the authority")
	f.StringVar(&a.directory, "acme-directory", acme.LetsEncryptURL, "directory `URL` of the authority")
}

func (a *acmeAccount) validate(given map[string]bool, own tlsFiles) error {
	if len(a.domains) == 0 {
		for _, name := range []string{"acme-cache", "acme-email", "acme-directory"} {
			if given[name] {
				return fmt.Errorf("-%s requires -acme-domains", name)
			}
		}
		return nil
	}
	directory, err := url.Parse(a.directory)
	switch {
	case own.certificate != "":
		return errors.New("-acme-domains and -tls-cert are mutually exclusive: remove one")
	case a.cache == "":
		return errors.New("-acme-domains requires -acme-cache: without it, every start requests new certificates and soon exceeds the authority's rate limit")
	case err != nil || directory.Scheme != "https" && !isLoopback(directory.Hostname()):
		return errors.New("-acme-directory must begin with https://")
	}
	for _, name := range a.domains {
		if !strings.Contains(name, ".") || strings.ContainsAny(name, "*/: ") {
			return fmt.Errorf("-acme-domains: %q is not a fully qualified domain name", name)
		}
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// config proves ownership of the names in the TLS handshake (TLS-ALPN-01, RFC 8737), so the server need not listen on
// port 80.
func (a *acmeAccount) config() *tls.Config {
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(a.cache),
		HostPolicy: autocert.HostWhitelist(a.domains...),
		Email:      a.email,
		Client:     &acme.Client{DirectoryURL: a.directory},
	}
	return manager.TLSConfig()
}
