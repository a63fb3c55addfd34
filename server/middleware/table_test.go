package middleware_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/gorilla/mux"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// A row is a way to put a handler behind something.
type row struct {
	name    string
	wrap    func(events http.Handler) http.Handler
	encodes bool   // the body, if the client accepts gzip
	refused string // the type of the writer that cannot stream, if it cannot
}

var table = []row{
	{name: "nothing", wrap: func(events http.Handler) http.Handler { return events }},
	{name: "http.ServeMux", wrap: func(events http.Handler) http.Handler {
		m := http.NewServeMux()
		m.Handle("GET /events", events)
		return m
	}},

	{name: "gorilla/mux", wrap: func(events http.Handler) http.Handler {
		r := mux.NewRouter()
		r.Handle("/events", events)
		return r
	}},
	{name: "gorilla/handlers LoggingHandler", wrap: func(events http.Handler) http.Handler {
		return handlers.LoggingHandler(io.Discard, events)
	}},

	{name: "chi", wrap: withChi()},
	{name: "chi Logger", wrap: withChi(chiLogger)},
	{name: "chi Timeout", wrap: withChi(chimiddleware.Timeout(time.Hour))},

	{name: "gin", wrap: withGin()},
	{name: "gin Logger, Recovery", wrap: withGin(gin.LoggerWithWriter(io.Discard), gin.RecoveryWithWriter(io.Discard))},

	{name: "otelhttp", wrap: otelhttp.NewMiddleware("events")},

	{name: "a writer with Unwrap alone", wrap: through(func(w http.ResponseWriter) http.ResponseWriter {
		return &unwraps{w}
	})},
}

var chiLogger = chimiddleware.RequestLogger(&chimiddleware.DefaultLogFormatter{Logger: discard{}, NoColor: true})

func init() { gin.SetMode(gin.ReleaseMode) } // or it prints its routes

type discard struct{}

func (discard) Print(...any) {}

func withChi(middlewares ...func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(events http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(middlewares...)
		r.Method(http.MethodGet, "/events", events)
		return r
	}
}

func withGin(middlewares ...gin.HandlerFunc) func(http.Handler) http.Handler {
	return func(events http.Handler) http.Handler {
		g := gin.New()
		g.Use(middlewares...)
		g.GET("/events", gin.WrapH(events))
		return g
	}
}

func through(wrap func(http.ResponseWriter) http.ResponseWriter) func(http.Handler) http.Handler {
	return func(events http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { events.ServeHTTP(wrap(w), r) })
	}
}

// An unwraps is a writer that people write themselves.
type unwraps struct{ http.ResponseWriter }

func (u *unwraps) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// Every stack streams as if nothing stood in between, or says why it cannot.
func TestStacks(t *testing.T) {
	for _, row := range table {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
			for _, accepts := range []string{"", "gzip"} {
				t.Run(strings.Join([]string{row.name, protocol, accepts}, "/"), func(t *testing.T) {
					t.Parallel()
					row.test(t, protocol, accepts)
				})
			}
		}
	}
}

func (row row) test(t *testing.T, protocol, accepts string) {
	var requests atomic.Int64 // that the handler has not returned from
	s := serve(t, protocol, func(events http.Handler) http.Handler {
		return row.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			defer requests.Add(-1)
			events.ServeHTTP(w, r)
		}))
	})
	encoding := ""
	if row.encodes {
		encoding = accepts
	}
	first := s.get(t, accepts)
	if row.refused != "" {
		first.wantRefusal(t, row.refused)
		s.wantQuiet(t)
		return
	}
	first.wantStream(t, encoding)
	s.wantLive(t, first)
	second := s.get(t, accepts)
	second.wantStream(t, encoding)
	s.wantLive(t, first, second)
	first.leave()
	s.wantLive(t, second) // once the first is seen to be gone
	s.broker.Close()
	if data, err := second.next(); err != io.EOF {
		t.Errorf("a stream that ends as it should ends with %.60q, %v", data, err)
	}
	eventually(t, "the requests have ended", func() bool {
		return requests.Load() == 0 && s.broker.Stats().Connections == 0
	})
	s.wantQuiet(t)
}
