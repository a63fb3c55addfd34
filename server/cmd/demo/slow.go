package main

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// writeDelay is how long each write of a stream waits while the network is slow. Events then arrive late and in groups.
const writeDelay = 1500 * time.Millisecond

// A slowness makes all streams slow for a while, including open ones.
type slowness struct {
	mu    sync.Mutex
	until time.Time
}

func (s *slowness) set(lasts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Now().Add(lasts)
}

func (s *slowness) isOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.until)
}

// slow returns a handler that delays streams, but not publishing, while the slowness is on.
func (s *slowness) slow(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(&slowWriter{w, r.Context(), s}, r)
	})
}

// A slowWriter does not implement [http.Hijacker], because a hijacked connection would not be slow.
type slowWriter struct {
	http.ResponseWriter
	ctx      context.Context
	slowness *slowness
}

func (w *slowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *slowWriter) Write(p []byte) (int, error) {
	if w.slowness.isOn() {
		select {
		case <-time.After(writeDelay):
		case <-w.ctx.Done():
		}
	}
	return w.ResponseWriter.Write(p)
}
