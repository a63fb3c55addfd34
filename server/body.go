package server

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"
)

// minBodyBytes is the minimum that a body counts, for the buffers of its connection and the goroutine that waits for it.
const minBodyBytes = 16 << 10

// firstBodyBytes is the initial buffer of a body. It doubles as the body arrives, so an announced length takes no memory.
const firstBodyBytes = 4 << 10

var (
	errManyBodies       = &HTTPError{Status: http.StatusServiceUnavailable, Message: "too many request bodies in flight", RetryAfter: retryAfter}
	errManyBodiesFromIP = &HTTPError{Status: http.StatusTooManyRequests, Message: "too many request bodies in flight from this address", RetryAfter: retryAfter}
)

// bodies counts the memory of request bodies in flight.
type bodies struct {
	mu        sync.Mutex
	total     int64
	byNetwork map[netip.Prefix]int
}

// take counts n more bytes for a network, or returns the error of the limit that they would exceed.
func (b *bodies) take(network netip.Prefix, n, limit, perNetwork int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case network.IsValid() && over(int64(b.byNetwork[network])+n, perNetwork):
		return errManyBodiesFromIP
	case over(b.total+n, limit):
		return errManyBodies
	}
	b.total += n
	count(&b.byNetwork, network, int(n))
	return nil
}

func (b *bodies) giveBack(network netip.Prefix, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total -= n
	count(&b.byNetwork, network, int(-n))
}

func (b *bodies) inFlight() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// A bodyReader reads the body of one request.
type bodyReader struct {
	handler *Handler
	request *http.Request
	network netip.Prefix
	taken   int64
	text    []byte
}

func (h *Handler) newBodyReader(r *http.Request) *bodyReader {
	return &bodyReader{handler: h, request: r, network: ClientNetwork(ClientIP(r, h.TrustedProxies))}
}

// begin reserves memory for the smallest body, before any of it is read.
func (b *bodyReader) begin() error {
	if over(b.request.ContentLength, b.limit()) {
		return tooLarge(b.limit())
	}
	return b.take(minBodyBytes)
}

// read returns the whole body, or an error if it does not arrive in time.
func (b *bodyReader) read(w http.ResponseWriter) ([]byte, error) {
	control, timeout := http.NewResponseController(w), cmp.Or(b.handler.BodyTimeout, DefaultBodyTimeout)
	if timeout > 0 {
		control.SetReadDeadline(time.Now().Add(timeout)) // otherwise the ReadTimeout of the server applies
	}
	err := b.readAll()
	switch {
	case err == nil:
		if timeout > 0 {
			control.SetReadDeadline(time.Time{}) // otherwise the request would be canceled at that time
		}
		return b.text, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &HTTPError{Status: http.StatusRequestTimeout, Message: "timed out reading the request body"}
	}
	if e, ok := errors.AsType[*HTTPError](err); ok {
		return nil, e
	}
	return nil, malformed("", "cannot read the request body")
}

func (b *bodyReader) readAll() error {
	for {
		if len(b.text) == cap(b.text) {
			if err := b.grow(); err != nil {
				return err
			}
		}
		n, err := b.request.Body.Read(b.text[len(b.text):cap(b.text)])
		b.text = b.text[:len(b.text)+n]
		switch {
		case over(int64(len(b.text)), b.limit()):
			return tooLarge(b.limit())
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// grow doubles the buffer, up to one byte more than the body can have, so that the reader finds its end. Middleware that
// decompresses may have made the body longer than its Content-Length.
func (b *bodyReader) grow() error {
	has := int64(cap(b.text))
	size := max(firstBodyBytes, 2*has)
	for _, most := range []int64{b.request.ContentLength, b.limit()} {
		if most >= has && most < math.MaxInt64 {
			size = min(size, most+1)
		}
	}
	if err := b.take(max(size, minBodyBytes)); err != nil {
		return err
	}
	text := make([]byte, len(b.text), size)
	copy(text, b.text)
	b.text = text
	return nil
}

// take sets the number of bytes that the body counts.
func (b *bodyReader) take(size int64) error {
	limit := cmp.Or(b.broker().MaxBodyBytesInFlight, DefaultMaxBodyBytesInFlight)
	perNetwork := cmp.Or(b.broker().MaxBodyBytesPerIP, DefaultMaxBodyBytesPerIP)
	switch {
	case over(size, limit):
		return tooLarge(limit)
	case b.network.IsValid() && over(size, perNetwork):
		return tooLarge(perNetwork)
	}
	if err := b.broker().bodies.take(b.network, size-b.taken, limit, perNetwork); err != nil {
		b.broker().refused.Add(1)
		return err
	}
	b.taken = size
	return nil
}

// end returns the reserved memory.
func (b *bodyReader) end() { b.broker().bodies.giveBack(b.network, b.taken) }

func (b *bodyReader) broker() *Broker { return b.handler.Broker }

func (b *bodyReader) limit() int64 { return cmp.Or(b.handler.MaxBodyBytes, DefaultMaxBodyBytes) }

func tooLarge(limit int64) error {
	return &HTTPError{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("request body is larger than %d bytes", limit)}
}

// leaveBody ends the request without reading the rest of its body. Over HTTP/1, net/http would wait for up to 256 KiB of
// it before it sends the response, and again afterwards, without a time limit. Over HTTP/2, the stream is reset.
func leaveBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 || r.ProtoMajor != 1 {
		return
	}
	w.Header().Set("Connection", "close")
	http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
}

// Limits of the body of a GET.
const (
	maxIgnoredBytes = 4 << 10
	ignoredTimeout  = time.Second
)

// ignoreBody reads the body of a GET, which has no meaning but which some clients send. A longer one is refused, as RFC
// 9110, section 9.3.1, permits: a stream that waits for the rest of it would occupy its goroutine after its end.
func ignoreBody(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 || r.ContentLength <= maxIgnoredBytes && endsSoon(w, r) {
		return nil
	}
	leaveBody(w, r)
	return malformed("", r.Method+" requests must not have a body")
}

func endsSoon(w http.ResponseWriter, r *http.Request) bool {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(ignoredTimeout))
	_, err := io.CopyN(io.Discard, r.Body, maxIgnoredBytes+1)
	control.SetReadDeadline(time.Time{})
	return err == io.EOF
}
