// Command goclients lets the scenarios of the conformance suite run on Go's clients of event streams. It is a module of its
// own, so that ours does not require them.
//
// Each client is used as its documentation says. Where it has options for them, its shortest wait is a millisecond without
// jitter and backoff, as the scenarios set it, and an event may be as large as theirs.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"time"

	launchdarkly "github.com/launchdarkly/eventsource"
	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"

	"github.com/eventsource-wasm/eventsource-wasm/e2e/node/clients"
)

// maxEvent is above what any scenario sends.
const maxEvent = 16 << 20

func main() {
	all := map[string]clients.Client{"ours": clients.Ours, "launchdarkly": launchDarkly, "r3labs": r3Labs, "tmaxmax": tmaxMax}
	if err := clients.Serve(all, os.Stdin, os.Stdout); err != nil {
		log.Fatal("goclients: ", err)
	}
}

// launchDarkly gives up after an HTTP error by its error handler: without one, it tries again forever.
func launchDarkly(ctx context.Context, url string, client *http.Client, message func(clients.Message), lost func()) {
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return
	}
	stream, err := launchdarkly.SubscribeWithRequestAndOptions(request,
		launchdarkly.StreamOptionHTTPClient(client),
		launchdarkly.StreamOptionInitialRetry(time.Millisecond),
		launchdarkly.StreamOptionCanRetryFirstConnection(-1),
		launchdarkly.StreamOptionErrorHandler(func(err error) launchdarkly.StreamErrorHandlerResult {
			var status launchdarkly.SubscriptionError
			final := errors.As(err, &status)
			if !final {
				lost()
			}
			return launchdarkly.StreamErrorHandlerResult{CloseNow: final || ctx.Err() != nil}
		}),
	)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, stream.Close)()
	for e := range stream.Events {
		message(clients.Message{Type: e.Event(), Data: []byte(e.Data())})
	}
}

// r3Labs ends when the server ends the stream in order: that it does not reconnect is what it does.
func r3Labs(ctx context.Context, url string, client *http.Client, message func(clients.Message), lost func()) {
	c := r3labs.NewClient(url, r3labs.ClientMaxBufferSize(maxEvent))
	c.Connection = client
	c.ReconnectStrategy = untilDone{ctx}
	c.ReconnectNotify = func(error, time.Duration) { lost() }
	c.SubscribeRawWithContext(ctx, func(e *r3labs.Event) {
		message(clients.Message{Type: string(e.Event), Data: e.Data})
	})
}

// untilDone is a strategy of r3labs that waits for a millisecond, and ends with the context.
type untilDone struct{ ctx context.Context }

func (u untilDone) Reset() {}

func (u untilDone) NextBackOff() time.Duration {
	if u.ctx.Err() != nil {
		return -1
	}
	return time.Millisecond
}

func tmaxMax(ctx context.Context, url string, client *http.Client, message func(clients.Message), lost func()) {
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return
	}
	c := tmaxmax.Client{
		HTTPClient: client,
		OnRetry:    func(error, time.Duration) { lost() },
		Backoff:    tmaxmax.Backoff{InitialInterval: time.Millisecond, Multiplier: 1, Jitter: 1e-9}, // none is taken for the default
	}
	connection := c.NewConnection(request)
	connection.Buffer(nil, maxEvent)
	connection.SubscribeToAll(func(e tmaxmax.Event) {
		message(clients.Message{Type: e.Type, Data: []byte(e.Data)})
	})
	connection.Connect()
}
