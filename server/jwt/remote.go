package jwt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Defaults of [FetchOptions], for fields that are zero.
const (
	DefaultRefresh = 15 * time.Minute
	DefaultTimeout = 5 * time.Second
)

// maxSetBytes limits a JWK set from a URL. minRefresh is the minimum time between two requests that tokens cause, since
// anyone can make up key ids.
const (
	maxSetBytes = 1 << 20
	minRefresh  = 30 * time.Second
)

// FetchOptions configures [FetchKeys].
type FetchOptions struct {
	// Client makes the requests. Nil means [http.DefaultClient].
	Client *http.Client

	// Refresh is the age at which the set is fetched again, when the next token is verified. Zero means 15 minutes.
	Refresh time.Duration

	// Timeout limits each request. Zero means 5 s.
	Timeout time.Duration

	// Logger gets the errors of background requests. Nil means [slog.Default].
	Logger *slog.Logger
}

// FetchKeys returns the keys of the JWK set at a URL, which must be https, or http on this machine. Nil options mean the
// defaults. Secrets in the set are ignored, because a published secret is not secret.
//
// FetchKeys fetches the set before it returns. Later, the set is fetched again in the background when it is older than
// Refresh, and before a token with an unknown key id is rejected, at most every 30 s. If that fails, the old keys
// remain valid. If the set has no usable keys, all tokens are rejected, as described at [Keys.Reload].
func FetchKeys(ctx context.Context, address string, o *FetchOptions) (*Keys, error) {
	if err := checkURL(address); err != nil {
		return nil, err
	}
	r := &remote{url: address, start: time.Now(), turn: make(chan struct{}, 1)}
	if o != nil {
		r.options = *o
	}
	k := &Keys{load: r.fetch, remote: r}
	if err := k.Reload(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("jwt: malformed JWK set URL")
	}
	if !trusted(u) {
		return fmt.Errorf("jwt: JWK set URL must begin with https://, not %s://", u.Scheme)
	}
	return nil
}

func trusted(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && local)
}

// A remote is a JWK set at a URL.
type remote struct {
	url     string
	options FetchOptions
	start   time.Time

	turn               chan struct{} // held by a background fetch
	attempted, fetched atomic.Int64  // durations since start
}

// stale reports whether the keys can still be used but should be fetched again.
func (r *remote) stale() bool {
	return r.since(&r.fetched) >= cmp.Or(r.options.Refresh, DefaultRefresh) && r.due()
}

func (r *remote) due() bool {
	return r.since(&r.attempted) >= minRefresh
}

func (r *remote) since(moment *atomic.Int64) time.Duration {
	return time.Since(r.start) - time.Duration(moment.Load())
}

// find returns candidates after it has fetched the keys if necessary.
func (k *Keys) find(ctx context.Context, algorithm, id string) []jwt.VerificationKey {
	if k.remote != nil && k.remote.stale() {
		select {
		case k.remote.turn <- struct{}{}:
			go k.refresh(ctx)
		default: // another goroutine fetches
		}
	}
	found := k.candidates(algorithm, id)
	if len(found) > 0 || k.remote == nil {
		return found
	}
	select {
	case k.remote.turn <- struct{}{}:
		k.refresh(ctx)
	case <-ctx.Done():
	}
	return k.candidates(algorithm, id)
}

// refresh fetches the keys and releases the turn, which the caller holds and may have waited for.
func (k *Keys) refresh(ctx context.Context) {
	defer func() { <-k.remote.turn }()
	ctx = context.WithoutCancel(ctx) // others may be waiting for this fetch
	if !k.remote.due() {
		return
	}
	before := k.withdrawn()
	err := k.Reload(ctx)
	logger := cmp.Or(k.remote.options.Logger, slog.Default())
	switch {
	case errors.Is(err, ErrWithdrawn) && !before:
		logger.Warn("JWK set has no usable keys: rejecting all tokens", "error", err)
	case err != nil && !errors.Is(err, ErrWithdrawn):
		logger.Warn("cannot fetch the JWK set: keeping the old keys", "error", err)
	}
}

func (r *remote) fetch(ctx context.Context) ([]key, error) {
	r.attempted.Store(int64(time.Since(r.start)))
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.options.Timeout, DefaultTimeout))
	defer cancel()
	text, err := r.get(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := fromSet(text, false)
	if err == nil || errors.Is(err, ErrWithdrawn) {
		r.fetched.Store(int64(time.Since(r.start)))
	}
	return keys, err
}

func (r *remote) get(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := cmp.Or(r.options.Client, http.DefaultClient).Do(request)
	if failure, ok := errors.AsType[*url.Error](err); ok {
		return nil, failure.Err // without the URL, whose query may be a secret
	}
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch {
	case !trusted(response.Request.URL):
		return nil, errors.New("redirected to a URL that is not https")
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("unexpected status %s", response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxSetBytes+1))
	if err == nil && len(text) > maxSetBytes {
		err = fmt.Errorf("JWK set is larger than %d bytes", maxSetBytes)
	}
	return text, err
}
