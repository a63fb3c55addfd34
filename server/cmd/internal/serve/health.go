package serve

import (
	"io"
	"net/http"
	"sync/atomic"
)

// A Health serves health checks. The zero Health is ready.
type Health struct {
	// Ready returns an error while the store is unavailable. Nil means that the store cannot fail.
	Ready func() error

	draining atomic.Bool
}

// Register adds /healthz and /readyz.
func (h *Health) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if h.draining.Load() {
			answer(w, http.StatusServiceUnavailable, "draining")
			return
		}
		if h.Ready != nil && h.Ready() != nil {
			answer(w, http.StatusServiceUnavailable, "the store is unavailable")
			return
		}
		answer(w, http.StatusOK, "ready")
	})
}

func answer(w http.ResponseWriter, status int, word string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, word+"\n")
}
