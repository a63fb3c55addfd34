//go:build !js

package eventsource

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Transport sends the requests of a source. Its field is another one in a browser (GOOS=js).
type Transport struct {
	// Client is nil for [http.DefaultClient]. Its Timeout is ignored, because it would end streams.
	Client *http.Client
}

// errEnd is returned at the end of a body.
var errEnd = io.EOF

// readSize is the size of the read buffer, the only memory that a connection keeps in addition to net/http's buffers.
const readSize = 16 << 10

// resolve returns the URL without its fragment.
func resolve(address string) (string, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		// The error of url.Parse contains the URL, which may contain a password.
		return "", errors.New("eventsource: the URL is invalid")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return "", errors.New("eventsource: the URL must be an absolute http or https URL")
	case !strings.HasPrefix(u.Host, "[") && isForbiddenHost(u.Hostname()):
		return "", errors.New("eventsource: the URL's host contains a forbidden character")
	case u.User != nil:
		return "", errors.New("eventsource: the URL contains a user name: set Authorization in Options.Header instead")
	}
	u.Fragment, u.RawFragment = "", ""
	return u.String(), nil
}

func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return originOf(u)
}

func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
	return u.Scheme + "://" + host
}

// send sends a request with the header that the Fetch Standard adds for the cache mode no-store.
func (s *Source) send(ctx context.Context, r request) (*response, error) {
	var content io.Reader
	if r.body != nil {
		content = bytes.NewReader(r.body)
	}
	sent, err := http.NewRequestWithContext(ctx, r.method, r.url, content)
	if err != nil {
		return nil, err
	}
	sent.Header = r.header
	setDefault(sent.Header, "Cache-Control", "no-cache")
	received, err := s.client().Do(sent)
	if err != nil {
		return nil, withoutURL(err)
	}
	return &response{
		Response: Response{
			Status: received.StatusCode,
			Header: received.Header,
			URL:    received.Request.URL.String(),
		},
		retryAfter: retryAfter(received.Header.Get("Retry-After")),
		body:       &body{ReadCloser: received.Body},
	}, nil
}

// withoutURL unwraps errors of type url.Error, because their text contains the URL. A RoundTripper that uses a client of its own
// returns a second one.
func withoutURL(err error) error {
	for {
		wrapped, ok := err.(*url.Error)
		if !ok {
			return err
		}
		err = wrapped.Err
	}
}

// client returns a copy of the caller's client for streams. It has no timeout, and removes credentials on redirects as the Fetch
// Standard requires: net/http sends Authorization to other ports and to subdomains.
func (s *Source) client() *http.Client {
	client := *http.DefaultClient
	if s.options.Transport.Client != nil {
		client = *s.options.Transport.Client
	}
	client.Timeout = 0
	policy := client.CheckRedirect
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if crossesOrigins(append(slices.Clip(via), next)) {
			removeCredentials(next.Header)
			next.Header.Del("Referer")
		}
		switch {
		case policy != nil:
			return policy(next, via)
		case len(via) > maxRedirects:
			return errors.New("stopped after 20 redirects")
		default:
			return nil
		}
	}
	return &client
}

// maxRedirects is the limit of the Fetch Standard.
const maxRedirects = 20

func crossesOrigins(hops []*http.Request) bool {
	first := originOf(hops[0].URL)
	return slices.ContainsFunc(hops, func(hop *http.Request) bool { return originOf(hop.URL) != first })
}

// retryAfter parses a date or a number of seconds (RFC 9110, section 10.2.3). It returns milliseconds, 0 for anything else.
func retryAfter(value string) uint64 {
	if delay, ok := delaySeconds(value); ok {
		return delay
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return milliseconds(time.Until(date))
}

type body struct {
	io.ReadCloser
	buffer []byte
}

func (b *body) read(context.Context) ([]byte, error) {
	if b.buffer == nil {
		b.buffer = make([]byte, readSize)
	}
	n, err := b.Read(b.buffer)
	return b.buffer[:n], err
}

func (b *body) close() { b.Close() }
