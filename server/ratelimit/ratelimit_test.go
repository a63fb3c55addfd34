package ratelimit_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/ratelimit"
)

// bySubject permits everything to everyone except mallory.
func bySubject(r *http.Request, _ server.Access) (server.Grant, error) {
	name := r.Header.Get("Authorization")
	if name == "mallory" {
		return server.Grant{}, server.ErrForbidden
	}
	return server.Grant{Subject: name}, nil
}

// publish posts a batch of events, and returns the status and the header Retry-After.
func publish(h http.Handler, events int, subject, remote string, forwarded ...string) (status int, retryAfter string) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat(`{"topic":"t"}`+"\n", events)))
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("Authorization", subject)
	r.Header["X-Forwarded-For"] = forwarded
	r.RemoteAddr = remote
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer.Code, answer.Header().Get("Retry-After")
}

func handler(l *ratelimit.Limiter) *server.Handler {
	l.Authorize = bySubject
	return &server.Handler{Broker: &server.Broker{}, Authorize: l.Permit, MaxBatch: -1}
}

func TestLimit(t *testing.T) {
	type step struct {
		after      time.Duration
		events     int
		subject    string
		status     int
		retryAfter string
	}
	tests := map[string]struct {
		limiter *ratelimit.Limiter
		steps   []step
	}{
		"one by one": {&ratelimit.Limiter{Rate: 0.5, Burst: 2}, []step{
			{0, 1, "a", 201, ""}, {0, 1, "a", 201, ""}, {0, 1, "a", 429, "2"},
			{time.Second, 1, "a", 429, "1"}, {time.Second, 1, "a", 201, ""}, {0, 1, "a", 429, "2"},
			{time.Hour, 1, "a", 201, ""}, {0, 1, "a", 201, ""}, {0, 1, "a", 429, "2"},
		}},
		"publishers are apart": {&ratelimit.Limiter{Rate: 1, Burst: 1}, []step{
			{0, 1, "a", 201, ""}, {0, 1, "b", 201, ""}, {0, 1, "a", 429, "1"}, {0, 1, "", 201, ""}, {0, 1, "", 429, "1"},
		}},
		"batches": {&ratelimit.Limiter{Rate: 10, Burst: 100}, []step{
			{0, 60, "a", 201, ""}, {0, 60, "a", 429, "2"}, {0, 40, "a", 201, ""}, {0, 101, "a", 429, "1"},
			{time.Second, 101, "a", 413, ""}, {9 * time.Second, 100, "a", 201, ""},
		}},
		"refused publications do not count": {&ratelimit.Limiter{Rate: 1, Burst: 2}, []step{
			{0, 1, "a", 201, ""}, {0, 2, "a", 429, "1"}, {0, 2, "a", 429, "1"}, {time.Second, 2, "a", 201, ""},
		}},
		"refused before": {&ratelimit.Limiter{Rate: 1, Burst: 1}, []step{
			{0, 1, "mallory", 403, ""}, {0, 1, "mallory", 403, ""},
		}},
		"defaults": {&ratelimit.Limiter{}, []step{
			{0, 1001, "a", 413, ""}, {0, 999, "a", 201, ""}, {0, 150, "a", 429, "2"}, {time.Second, 101, "a", 201, ""}, {0, 1, "a", 429, "1"},
		}},
		"no limit": {&ratelimit.Limiter{Rate: rate.Inf}, []step{{0, 5000, "a", 201, ""}, {0, 5000, "a", 201, ""}}},
		"silent publishers are forgotten": {&ratelimit.Limiter{Rate: 0.001, Burst: 1, MaxPublishers: 4}, []step{
			{0, 1, "a", 201, ""}, {0, 1, "b", 201, ""}, {0, 1, "c", 201, ""}, {0, 1, "a", 429, "1000"},
			{0, 1, "d", 201, ""}, {0, 1, "e", 201, ""}, {0, 1, "a", 429, "1000"}, {0, 1, "b", 201, ""},
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := handler(test.limiter)
				for i, step := range test.steps {
					time.Sleep(step.after)
					status, retryAfter := publish(h, step.events, step.subject, "192.0.2.1:1")
					if status != step.status || retryAfter != step.retryAfter {
						t.Errorf("step %d: status %d, Retry-After %q", i+1, status, retryAfter)
					}
				}
			})
		})
	}
}

// Clients without a subject are limited by address.
func TestLimitPerAddress(t *testing.T) {
	h := handler(&ratelimit.Limiter{Rate: 0.001, Burst: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for i, test := range []struct {
		remote, forwarded string
		status            int
	}{
		{"192.0.2.1:1", "", 201},
		{"192.0.2.1:2", "", 429},
		{"192.0.2.1:2", "198.51.100.1", 429},
		{"192.0.2.2:1", "", 201},
		{"10.0.0.1:1", "192.0.2.1", 429},
		{"10.0.0.1:1", "192.0.2.3", 201},
		{"[2001:db8::1]:1", "", 201},
		{"[2001:db8::2]:1", "", 429},
		{"[2001:db8:0:1::1]:1", "", 201},
		{"@", "", 201},
		{"@", "", 429},
	} {
		if status, _ := publish(h, 1, "", test.remote, test.forwarded); status != test.status {
			t.Errorf("request %d: status %d", i+1, status)
		}
	}
}

// Subscribing is free, and concurrent requests cannot publish more than the bucket holds.
func TestConcurrentPublications(t *testing.T) {
	h := handler(&ratelimit.Limiter{Rate: 1e-9, Burst: 20, MaxPublishers: 3})
	var published atomic.Int64
	var clients sync.WaitGroup
	for i := range 50 {
		clients.Go(func() {
			if status, _ := publish(h, 1, "a", "192.0.2.1:1"); status == http.StatusCreated {
				published.Add(1)
			}
			r := httptest.NewRequest(http.MethodHead, "/", nil)
			r.Header.Set("Authorization", fmt.Sprint("reader ", i))
			answer := httptest.NewRecorder()
			if h.ServeHTTP(answer, r); answer.Code != http.StatusOK {
				t.Errorf("reading: status %d", answer.Code)
			}
		})
	}
	clients.Wait()
	if published.Load() != 20 {
		t.Errorf("%d events published from a bucket of 20", published.Load())
	}
}

// A publisher without tokens is refused before its body is read, like one that Authorize refuses. A permitted publication
// is charged once.
func TestRefusedBeforeBody(t *testing.T) {
	h := handler(&ratelimit.Limiter{Rate: 1e-9, Burst: 1})
	for i, test := range []struct {
		subject string
		status  int
		reads   bool
	}{{"mallory", 403, false}, {"a", 201, true}, {"a", 429, false}, {"b", 201, true}} {
		body := &countingReader{strings.NewReader(`{"topic":"t"}`), 0}
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.Header = http.Header{"Content-Type": {"application/x-ndjson"}, "Authorization": {test.subject}}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		if answer.Code != test.status || (body.reads > 0) != test.reads {
			t.Errorf("request %d: status %d after %d reads of the body", i+1, answer.Code, body.reads)
		}
	}
}

type countingReader struct {
	io.Reader
	reads int
}

func (r *countingReader) Read(b []byte) (int, error) {
	r.reads++
	return r.Reader.Read(b)
}

func TestNoAuthorize(t *testing.T) {
	_, err := (&ratelimit.Limiter{}).Permit(httptest.NewRequest(http.MethodPost, "/", nil), server.Access{Action: server.ActionPublish})
	if err == nil || !strings.Contains(err.Error(), "Authorize") {
		t.Errorf("got %v", err)
	}
}
