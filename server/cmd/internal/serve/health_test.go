package serve

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHealth(t *testing.T) {
	var unavailable error
	h := &Health{Ready: func() error { return unavailable }}
	mux := http.NewServeMux()
	h.Register(mux)
	want := func(path string, status int, body string) {
		t.Helper()
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != status || w.Body.String() != body+"\n" {
			t.Errorf("%s: status %d, body %q, want %d, %q", path, w.Code, w.Body, status, body+"\n")
		}
	}
	want("/readyz", 200, "ready")
	unavailable = errors.New("secret host")
	want("/readyz", 503, "the store is unavailable")
	want("/healthz", 200, "ok")
	unavailable = nil
	want("/readyz", 200, "ready")
	h.draining.Store(true)
	want("/readyz", 503, "draining")
	want("/healthz", 200, "ok")
}
