package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// While the network is slow, every write is delayed, including those of streams that were already open.
func TestSlowNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s slowness
		var took []time.Duration
		write := func(w http.ResponseWriter) {
			begun := time.Now()
			w.Write([]byte("x"))
			took = append(took, time.Since(begun))
		}
		recorder := httptest.NewRecorder()
		s.slow(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			write(w)
			s.set(2 * time.Second)
			write(w)
			write(w)
			write(w)
			if _, can := w.(http.Hijacker); can {
				t.Error("the writer implements http.Hijacker, which would bypass the delay")
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		})).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
		for i, want := range []time.Duration{0, writeDelay, writeDelay, 0} {
			if took[i] != want {
				t.Errorf("write %d took %v, want %v", i, took[i], want)
			}
		}
		if body := recorder.Body.String(); body != "xxxx" {
			t.Errorf("body %q", body)
		}
	})
}

// When a client leaves, its delayed write returns.
func TestClientLeavesSlowNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var s slowness
		s.set(time.Minute)
		begun := time.Now()
		s.slow(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) })).
			ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		if took := time.Since(begun); took != 0 {
			t.Errorf("waited %v", took)
		}
	})
}

func TestSlowRequests(t *testing.T) {
	d, url := startDemo(t, demoToken)
	for body, status := range map[string]int{"seconds=5": 204, "": 400, "seconds=0": 400, "seconds=61": 400, "seconds=x": 400} {
		d.slowness.set(0)
		if response, text := do(t, "POST", url+"/demo/slow", body); response.StatusCode != status || d.slowness.isOn() != (status == 204) {
			t.Errorf("%q: status %d, %s, slow %t", body, response.StatusCode, text, d.slowness.isOn())
		}
	}
	if response, _ := do(t, "POST", url+"/demo/slow", "seconds=5", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); response.StatusCode != 403 {
		t.Errorf("another origin: status %d", response.StatusCode)
	}
}

// Statistics continue for a while without clients, so that reconnecting clients have missed some.
func TestStatsAfterDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDemo(t, demoToken)
		d.connected = time.Now()
		go d.feed(t.Context())
		<-time.After(time.Hour)
		synctest.Wait()
		if got, want := d.broker.Stats().Published, uint64(afterglow/statsInterval); got != want {
			t.Errorf("%d events published, want %d", got, want)
		}
	})
}
