//go:build js && wasm

package eventsource

import (
	"context"
	"strings"
	"time"

	"github.com/hack-pad/safejs"
)

// Browsers reconnect after a network error and give up when they forbid the request themselves. fetch rejects with the same
// TypeError in both cases. This file tells them apart as far as a script can, like js/request.js.

// explain returns the error of a request that fetch has rejected. It is of type forbidden if the browser does not allow the
// request.
func (s *Source) explain(ctx context.Context, url string, policy *policy, err error) error {
	switch {
	case ctx.Err() != nil:
		return err
	case !isFetchable(url):
		return forbidden{ReasonURL, err}
	case policy.blocked(ctx):
		return forbidden{ReasonCSP, err}
	case s.options.Transport.Fetch.IsUndefined() && isBlockedByCORS(ctx, url):
		return forbidden{ReasonCORS, err}
	default:
		return err
	}
}

func isFetchable(url string) bool {
	scheme, _, _ := strings.Cut(url, ":")
	switch scheme {
	case "http", "https", "data", "blob":
		return true
	}
	return strings.HasSuffix(scheme, "-extension")
}

// isBlockedByCORS reports whether the server does not allow this origin: it answers a request without CORS, but not one with
// CORS. The method is HEAD, so that no stream begins. A URL of the page's own origin is not checked.
func isBlockedByCORS(ctx context.Context, url string) bool {
	if origin(url) == text(safejs.Global(), "origin") {
		return false
	}
	abort, err := construct("AbortController")
	if err != nil {
		return false
	}
	signal, err := abort.Get("signal")
	if err != nil {
		return false
	}
	stop := context.AfterFunc(ctx, func() { abort.Call("abort") })
	defer stop()
	promise, err := safejs.Global().Call("fetch", url, map[string]any{
		"method": "HEAD", "mode": "no-cors", "credentials": "omit", "cache": "no-store", "signal": signal,
	})
	if err != nil {
		return false
	}
	_, err = await(ctx, promise)
	return err == nil
}

// A policy watches whether the page's Content-Security-Policy blocks a request.
type policy struct {
	target   safejs.Value
	listener safejs.Func
	violated chan struct{}
}

func watchPolicy(url string) *policy {
	p := &policy{target: safejs.Global(), violated: make(chan struct{}, 1)}
	if document, err := p.target.Get("document"); err == nil && !document.IsUndefined() {
		p.target = document
	}
	prefix := origin(url)
	var err error
	p.listener, err = safejs.FuncOf(func(_ safejs.Value, args []safejs.Value) any {
		event := args[0]
		if text(event, "disposition") == "enforce" && text(event, "effectiveDirective") == "connect-src" &&
			strings.HasPrefix(text(event, "blockedURI"), prefix) {
			select {
			case p.violated <- struct{}{}:
			default:
			}
		}
		return nil
	})
	if err == nil {
		// Node.js has no global addEventListener and no such policy.
		_, _ = p.target.Call("addEventListener", "securitypolicyviolation", p.listener)
	}
	return p
}

// blocked waits for the event, which is fired in a task that may run after the rejection.
func (p *policy) blocked(ctx context.Context) bool {
	const late = 10 * time.Millisecond
	select {
	case <-p.violated:
		return true
	case <-time.After(late):
		return false
	case <-ctx.Done():
		return false
	}
}

func (p *policy) stop() {
	_, _ = p.target.Call("removeEventListener", "securitypolicyviolation", p.listener)
	p.listener.Release()
}
