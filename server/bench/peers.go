package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/dunglas/mercure"
	launchdarkly "github.com/launchdarkly/eventsource"
	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"
	"go.uber.org/zap"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// topic is the topic of every client.
const topic = "t"

// A contestant is one way to send events. Each is configured as its documentation starts. Settings for the comparison have
// a comment.
type contestant struct {
	name   string
	module string // for the version in the report
	path   string // of the stream

	protocol   string // empty means plainHTTP
	sendBuffer int    // bytes, of the server's sockets; zero means the system's default

	serve func(history int) (http.Handler, publisher, error)

	// For the fault tests: an id as from another run of the server, and the path that resumes after the first event, if
	// Last-Event-ID does not.
	unknown string
	resume  string
}

// A publisher publishes an event with this data. It is called from one goroutine.
type publisher func(data string) error

const ours = "github.com/eventsource-wasm/eventsource-wasm"

var contestants = []contestant{
	{name: "raw"},
	{name: "ours", module: ours, path: "/", serve: serveOurs, unknown: "abcdefgh-5"},
	{name: "ours, NoHijack", module: ours, path: "/", serve: serveOursByNetHTTP, unknown: "abcdefgh-5"},
	{name: "r3labs/sse", module: "github.com/r3labs/sse/v2", path: "/?stream=" + topic, serve: serveR3labs, unknown: "999999"},
	{name: "tmaxmax/go-sse", module: "github.com/tmaxmax/go-sse", path: "/", serve: serveTmaxmax, unknown: "999999"},
	{name: "launchdarkly/eventsource", module: "github.com/launchdarkly/eventsource", path: "/", serve: serveLaunchdarkly, unknown: "0000999999"},
	{name: "dunglas/mercure", module: "github.com/dunglas/mercure", path: "/.well-known/mercure?topic=" + topic, serve: serveMercure, unknown: "urn:uuid:01234567-89ab-4def-8123-456789abcdef"},
	{
		name: "centrifugal/centrifuge", module: "github.com/centrifugal/centrifuge",
		path:   `/?cf_connect={"id":1,"connect":{}}`,
		resume: `/?cf_connect={"id":1,"connect":{"subs":{"t":{"recover":true,"offset":1,"epoch":"%s"}}}}`,
		serve:  serveCentrifuge,
	},
	{name: "nchan", unknown: "1600000000:0"},
}

// quiet discards servers' logs, so that logging does not affect the results.
var quiet = slog.New(slog.DiscardHandler)

func serveOurs(history int) (http.Handler, publisher, error) {
	return serveHandler(history, false)
}

// serveOursByNetHTTP uses the path of HTTP/2, TLS and systems other than Linux.
func serveOursByNetHTTP(history int) (http.Handler, publisher, error) {
	return serveHandler(history, true)
}

func serveHandler(history int, noHijack bool) (http.Handler, publisher, error) {
	broker := &server.Broker{MaxConnections: -1, MaxEvents: history}
	if history > 0 {
		broker.MaxBytes = -1
	}
	publish := func(data string) error {
		_, err := broker.Publish(context.Background(), topic, sse.Event{Data: data})
		return err
	}
	return &server.Handler{Broker: broker, NoHijack: noHijack, Logger: quiet}, publish, nil
}

// serveR3labs always keeps every event, because New enables AutoReplay.
func serveR3labs(int) (http.Handler, publisher, error) {
	s := r3labs.New()
	s.CreateStream(topic)
	publish := func(data string) error {
		s.Publish(topic, &r3labs.Event{Data: []byte(data)})
		return nil
	}
	return s, publish, nil
}

func serveTmaxmax(history int) (http.Handler, publisher, error) {
	joe := &tmaxmax.Joe{}
	if history > 0 {
		replayer, err := tmaxmax.NewFiniteReplayer(history, true)
		if err != nil {
			return nil, nil, err
		}
		joe.Replayer = replayer
	}
	s := &tmaxmax.Server{Provider: joe}
	publish := func(data string) error {
		m := &tmaxmax.Message{}
		m.AppendData(data)
		return s.Publish(m)
	}
	return s, publish, nil
}

// A launchdarklyEvent has an id with leading zeros, because SliceRepository compares ids as text.
type launchdarklyEvent struct {
	id   int
	data string
}

func (e launchdarklyEvent) Id() string    { return fmt.Sprintf("%010d", e.id) }
func (e launchdarklyEvent) Event() string { return "" }
func (e launchdarklyEvent) Data() string  { return e.data }

func serveLaunchdarkly(history int) (http.Handler, publisher, error) {
	s := launchdarkly.NewServer()
	repository := launchdarkly.NewSliceRepository()
	if history > 0 {
		s.Register(topic, repository)
	}
	id := 0
	publish := func(data string) error {
		id++
		event := launchdarklyEvent{id, data}
		if history > 0 {
			repository.Add(topic, event)
		}
		s.Publish([]string{topic}, event)
		return nil
	}
	return s.Handler(topic), publish, nil
}

func serveMercure(history int) (http.Handler, publisher, error) {
	var transport mercure.Transport = mercure.NewLocalTransport()
	if history > 0 {
		dir, err := os.MkdirTemp("", "mercure")
		if err != nil {
			return nil, nil, err
		}
		file := filepath.Join(dir, "updates.db")
		if transport, err = mercure.NewBoltTransport(zap.NewNop(), file, "", uint64(history), 0); err != nil {
			return nil, nil, err
		}
		os.RemoveAll(dir) // the open file remains until the process ends
	}
	hub, err := mercure.NewHub(mercure.WithTransport(transport), mercure.WithAnonymous(), mercure.WithLogger(zap.NewNop()),
		mercure.WithPublisherJWT([]byte("unused: no one publishes over HTTP"), "HS256"),
		mercure.WithSubscriberJWT([]byte("unused: no one sends a token"), "HS256"))
	if err != nil {
		return nil, nil, err
	}
	publish := func(data string) error {
		return transport.Dispatch(&mercure.Update{Topics: []string{topic}, Event: mercure.Event{Data: data}})
	}
	return hub, publish, nil
}

// serveCentrifuge subscribes clients on the server, and disables application pings, which clients would have to answer with
// requests.
func serveCentrifuge(history int) (http.Handler, publisher, error) {
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelNone})
	if err != nil {
		return nil, nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{},
			Subscriptions: map[string]centrifuge.SubscribeOptions{topic: {EnableRecovery: history > 0}},
		}, nil
	})
	if err := node.Run(); err != nil {
		return nil, nil, err
	}
	publish := func(data string) error {
		value, err := json.Marshal(data)
		if err != nil {
			return err
		}
		_, err = node.Publish(topic, value, centrifuge.WithHistory(history, time.Hour))
		return err
	}
	pings := centrifuge.PingPongConfig{PingInterval: -1, PongTimeout: -1}
	return centrifuge.NewSSEHandler(node, centrifuge.SSEConfig{PingPongConfig: pings}), publish, nil
}
