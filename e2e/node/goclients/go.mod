module github.com/eventsource-wasm/eventsource-wasm/e2e/node/goclients

go 1.26.0

replace github.com/eventsource-wasm/eventsource-wasm => ../../..

require (
	github.com/eventsource-wasm/eventsource-wasm v0.0.0-00010101000000-000000000000
	github.com/launchdarkly/eventsource v1.11.0
	github.com/r3labs/sse/v2 v2.10.0
	github.com/tmaxmax/go-sse v0.12.0
)

require (
	github.com/hack-pad/safejs v0.1.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	gopkg.in/cenkalti/backoff.v1 v1.1.0 // indirect
)
