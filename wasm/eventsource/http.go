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
	"strconv"
	"strings"
	"time"
)

// Client is what makes the requests of a source.
type Client = *http.Client

// errEnd is the end of a body.
var errEnd = io.EOF

// readSize is what one read of a stream may return. It is all that a connection keeps beside net/http's buffers.
const readSize = 16 << 10

// resolve returns the URL as it is sent.
func resolve(address string) (string, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		// The error repeats what it cannot parse, which may be a password.
		return "", errors.New("eventsource: the URL cannot be parsed")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return "", errors.New("eventsource: the URL must be an absolute one of http or https")
	case !strings.HasPrefix(u.Host, "[") && isForbiddenHost(u.Hostname()):
		return "", errors.New("eventsource: the URL's host has a forbidden character")
	case u.User != nil:
		return "", errors.New("eventsource: the URL has a user name: send Authorization in Options.Header")
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

// send makes one request, with what the Fetch Standard adds for a cache mode of no-store.
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

// withoutURL returns the error that a url.Error wraps, whose text repeats the URL.
func withoutURL(err error) error {
	if wrapped, ok := err.(*url.Error); ok {
		return wrapped.Err
	}
	return err
}

// client returns the caller's, for streams, and with the Fetch Standard's idea of what a redirect may carry where:
// net/http lets Authorization go to another port, and to subdomains.
func (s *Source) client() *http.Client {
	client := *http.DefaultClient
	if s.options.Client != nil {
		client = *s.options.Client
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

// maxRedirects is the Fetch Standard's.
const maxRedirects = 20

func crossesOrigins(hops []*http.Request) bool {
	first := originOf(hops[0].URL)
	return slices.ContainsFunc(hops, func(hop *http.Request) bool { return originOf(hop.URL) != first })
}

// retryAfter: RFC 9110, section 10.2.3: a date or a number of seconds. Returns milliseconds, 0 for what is neither.
func retryAfter(value string) uint64 {
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return seconds * 1000
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
