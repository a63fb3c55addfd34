package server_test

import (
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// Stats.Lag is the lag of the slowest stream.
func TestLag(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		broker := &server.Broker{MaxBytes: -1}
		url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack, MaxLag: -1, WriteTimeout: -1, Logger: quiet})
		if got := broker.Stats().Lag; got != 0 {
			t.Errorf("Lag without streams = %d", got)
		}
		slow, fast := roomy(t, url), roomy(t, url)
		eventually(t, "both are up to date", func() bool { return broker.Stats().Lag == 0 })

		const far = 1 << 20
		data := strings.Repeat("x", 50_000)
		for broker.Stats().Lag < far {
			publish(t, broker, "t", data)
			fast.wantData(data)
		}
		publish(t, broker, "t", "last")
		fast.wantData("last")
		if got := broker.Stats().Lag; got < far {
			t.Errorf("Lag while one client does not read = %d", got)
		}
		for b := slow.next(); b["data"] != "last"; b = slow.next() {
		}
		eventually(t, "it has caught up", func() bool { return broker.Stats().Lag == 0 })
		publish(t, broker, "t", "more")
		slow.wantData("more")
		slow.conn.Close()
		fast.conn.Close()
		wantConnections(t, broker, 0)
		eventually(t, "no stream lags", func() bool { return broker.Stats().Lag == 0 })
	})
}
