// Command goclients runs the scenarios of the conformance suite on Go clients for event streams. It is a separate module,
// so that ours does not require them.
//
// Each client is used as documented. If it has the options, its reconnection time is a millisecond without jitter and
// backoff, as in the scenarios, and its event size limit is above theirs.
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

// maxEvent is larger than any scenario's event.
const maxEvent = 16 << 20

func main() {
	all := map[string]clients.Client{"ours": clients.Ours, "launchdarkly": launchDarkly, "r3labs": r3Labs, "tmaxmax": tmaxMax}
	if err := clients.Serve(all, os.Stdin, os.Stdout); err != nil {
		log.Fatal("goclients: ", err)
	}
}

// launchDarkly has an error handler that gives up after an HTTP error. Without one, the client retries forever.
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

// r3Labs ends when the server ends the stream: this client does not reconnect then.
func r3Labs(ctx context.Context, url string, client *http.Client, message func(clients.Message), lost func()) {
	c := r3labs.NewClient(url, r3labs.ClientMaxBufferSize(maxEvent))
	c.Connection = client
	c.ReconnectStrategy = untilDone{ctx}
	c.ReconnectNotify = func(error, time.Duration) { lost() }
	c.SubscribeRawWithContext(ctx, func(e *r3labs.Event) {
		message(clients.Message{Type: string(e.Event), Data: e.Data})
	})
}

// untilDone is a backoff strategy for r3labs that waits a millisecond and ends with the context.
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
		Backoff:    tmaxmax.Backoff{InitialInterval: time.Millisecond, Multiplier: 1, Jitter: 1e-9}, // zero would mean the default
	}
	connection := c.NewConnection(request)
	connection.Buffer(nil, maxEvent)
	connection.SubscribeToAll(func(e tmaxmax.Event) {
		message(clients.Message{Type: e.Type, Data: []byte(e.Data)})
	})
	connection.Connect()
}
