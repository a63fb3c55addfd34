package server_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// The timeouts of the http.Server are shorter than the silence. They must not end a stream.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &server.Broker{}
		h := &server.Handler{Broker: broker, Logger: quiet}
		network, _ := serveBubble(t, h, &http.Server{ReadTimeout: time.Second, WriteTimeout: time.Second})
		c := network.get(t, "/")
		c.next()
		begun := time.Now()
		for i := range 3 {
			if line, err := c.reader.ReadString('\n'); line != ": \n" || err != nil {
				t.Fatalf("read %q, %v", line, err)
			}
			if got, want := time.Since(begun), time.Duration(i+1)*15*time.Second; got != want {
				t.Errorf("heartbeat after %v, want %v", got, want)
			}
		}
		// An event restarts the heartbeat interval.
		<-time.After(10 * time.Second)
		publish(t, broker, "t", "event")
		c.wantData("event")
		begun = time.Now()
		if _, err := c.reader.ReadString('\n'); err != nil || time.Since(begun) != 15*time.Second {
			t.Errorf("heartbeat %v after the event, %v", time.Since(begun), err)
		}
	})
}

// A stream that was silent for longer than WriteTimeout ends cleanly.
func TestCloseAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &server.Broker{}
		network, _ := serveBubble(t, &server.Handler{Broker: broker, Heartbeat: -1, Logger: quiet}, &http.Server{})
		c := network.get(t, "/")
		c.next()
		<-time.After(time.Hour)
		broker.Close()
		c.wantEnd()
	})
}

func TestWriteTimeout(t *testing.T) {
	tests := map[string]struct{ timeout, after time.Duration }{
		"default": {0, 10 * time.Second},
		"option":  {3 * time.Second, 3 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				broker := &server.Broker{}
				logger := slog.New(slog.NewTextHandler(&log, nil))
				h := &server.Handler{Broker: broker, WriteTimeout: test.timeout, Logger: logger}
				network, done := serveBubble(t, h, &http.Server{})
				network.get(t, "/").next()
				begun := time.Now()
				publish(t, broker, "t", "unread")
				<-done
				if got := time.Since(begun); got != test.after {
					t.Errorf("closed after %v, want %v", got, test.after)
				}
				if !strings.Contains(log.String(), "timeout") {
					t.Errorf("log %q", log.String())
				}
			})
		})
	}
}

func TestNoWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &server.Broker{}
		h := &server.Handler{Broker: broker, WriteTimeout: -1, Logger: quiet}
		network, _ := serveBubble(t, h, &http.Server{WriteTimeout: time.Second})
		c := network.get(t, "/")
		c.next()
		publish(t, broker, "t", "late")
		<-time.After(time.Hour)
		c.wantData("late")
	})
}

// A client that does not read for a while is disconnected, or skips events. Another client gets everything immediately.
func TestLaggingClient(t *testing.T) {
	large := strings.Repeat("x", 600)
	tests := map[string]struct {
		policy server.LagPolicy
		check  func(t *testing.T, c *client, b *server.Broker, epoch string)
	}{
		"end": {server.EndLagging, func(t *testing.T, c *client, b *server.Broker, epoch string) {
			c.wantData("1")
			c.wantEnd()
		}},
		"skip": {server.SkipLagging, func(t *testing.T, c *client, b *server.Broker, epoch string) {
			c.wantData("1")
			gap := c.next()
			data := `{"requested":"` + epoch + `-1","first":"` + epoch + `-4","reason":"lag"}`
			if gap["event"] != "gap" || gap["id"] != epoch+"-3" || gap["data"] != data {
				t.Errorf("got %v", gap)
			}
			publish(t, b, "t", "4")
			c.wantData("4")
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := &server.Broker{}
				h := &server.Handler{Broker: broker, MaxLag: 1000, LagPolicy: test.policy, Logger: quiet}
				network, _ := serveBubble(t, h, &http.Server{})
				slow, fast := network.get(t, "/"), network.get(t, "/")
				epoch := epochOf(slow.next()["id"])
				fast.next()
				for _, data := range []string{"1", large, large} {
					publish(t, broker, "t", data)
					fast.wantData(data)
					synctest.Wait() // until the slow client's first event blocks its write
				}
				test.check(t, slow, broker, epoch)
				if got := broker.Stats().Lagged; got != 1 {
					t.Errorf("lagged %d times", got)
				}
			})
		})
	}
}

func TestStreamOvertakenByRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &server.Broker{MaxEvents: 2}
		network, _ := serveBubble(t, &server.Handler{Broker: broker, Logger: quiet}, &http.Server{})
		c := network.get(t, "/")
		epoch := epochOf(c.next()["id"])
		publish(t, broker, "t", "1")
		synctest.Wait()
		publish(t, broker, "t", "2", "3", "4", "5")
		c.wantData("1")
		gap := c.next()
		if data := `{"requested":"` + epoch + `-1","first":"` + epoch + `-4","reason":"expired"}`; gap["data"] != data {
			t.Errorf("got %v, want %s", gap, data)
		}
		c.wantData("4", "5")
	})
}

// In a replay of any length, each write has at most one segment and its own deadline.
func TestReplayInBoundedWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &server.Broker{}
		h := &server.Handler{Broker: broker, MaxLag: 1, Logger: quiet}
		network, _ := serveBubble(t, h, &http.Server{})
		data := strings.Repeat("x", 1000)
		for range 1000 {
			publish(t, broker, "t", data)
		}
		c := network.get(t, "/?lastEventId="+epochOf(publish(t, broker, "t", data))+"-0")
		// At this pace, the replay takes 100 seconds, far longer than WriteTimeout, and a segment 6.5.
		for range 1001 {
			c.wantData(data)
			<-time.After(100 * time.Millisecond)
		}
	})
}

func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &server.Broker{}
		network, done := serveBubble(t, &server.Handler{Broker: broker, Heartbeat: -1, Logger: quiet}, &http.Server{})
		ctx, cancel := context.WithCancel(t.Context())
		transport := &http.Transport{DialContext: network.dial}
		defer transport.CloseIdleConnections()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-done
		if got := broker.Stats().Connections; got != 0 {
			t.Errorf("%d connections", got)
		}
		io.Copy(io.Discard, response.Body)
	})
}
