package middleware_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gingzip "github.com/gin-contrib/gzip"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/gorilla/mux"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// A row is a middleware or router.
type row struct {
	name    string
	wrap    func(events http.Handler) http.Handler
	encodes bool   // compresses the body, if the client accepts gzip
	refused string // the type of the writer that cannot stream, if any
}

var table = []row{
	{name: "nothing", wrap: func(events http.Handler) http.Handler { return events }},
	{name: "http.ServeMux", wrap: func(events http.Handler) http.Handler {
		m := http.NewServeMux()
		m.Handle("GET /events", events)
		return m
	}},
	{name: "http.TimeoutHandler", wrap: func(events http.Handler) http.Handler {
		return http.TimeoutHandler(events, time.Hour, "too slow")
	}, refused: "*http.timeoutWriter"},

	{name: "gorilla/mux", wrap: func(events http.Handler) http.Handler {
		r := mux.NewRouter()
		r.Handle("/events", events)
		return r
	}},
	{name: "gorilla/handlers CompressHandler", wrap: handlers.CompressHandler, encodes: true},
	{name: "gorilla/handlers LoggingHandler", wrap: func(events http.Handler) http.Handler {
		return handlers.LoggingHandler(io.Discard, events)
	}},
	{name: "gorilla/handlers all", wrap: func(events http.Handler) http.Handler {
		return handlers.RecoveryHandler()(handlers.CombinedLoggingHandler(io.Discard, handlers.CompressHandler(handlers.ProxyHeaders(events))))
	}, encodes: true},

	{name: "echo", wrap: withEcho()},
	{name: "echo Gzip", wrap: withEcho(echomiddleware.Gzip()), encodes: true},
	{name: "echo Logger", wrap: withEcho(echoLogger)},
	{name: "echo Logger, Recover, Gzip", wrap: withEcho(echoLogger, echomiddleware.Recover(), echomiddleware.Gzip()), encodes: true},

	{name: "chi", wrap: withChi()},
	{name: "chi Compress", wrap: withChi(chimiddleware.Compress(5))}, // its types do not include text/event-stream
	{name: "chi Compress of streams", wrap: withChi(chimiddleware.Compress(5, "text/event-stream")), encodes: true},
	{name: "chi Logger", wrap: withChi(chiLogger)},
	{name: "chi Timeout", wrap: withChi(chimiddleware.Timeout(time.Hour))},
	{name: "chi Logger, Recoverer, Timeout, Compress", wrap: withChi(chiLogger, chimiddleware.Recoverer,
		chimiddleware.Timeout(time.Hour), chimiddleware.Compress(5, "text/event-stream")), encodes: true},

	{name: "gin", wrap: withGin()},
	{name: "gin Logger, Recovery", wrap: withGin(gin.LoggerWithWriter(io.Discard), gin.RecoveryWithWriter(io.Discard))},
	{name: "gin gzip", wrap: withGin(gingzip.Gzip(gingzip.DefaultCompression)), encodes: true},

	{name: "otelhttp", wrap: otelhttp.NewMiddleware("events")},
	{name: "otelhttp, gorilla/handlers CompressHandler", wrap: func(events http.Handler) http.Handler {
		return otelhttp.NewHandler(handlers.CompressHandler(events), "events")
	}, encodes: true},

	{name: "a writer with Flush and no Unwrap", wrap: through(func(w http.ResponseWriter) http.ResponseWriter {
		return &flushes{w}
	})},
	{name: "a writer with only Unwrap", wrap: through(func(w http.ResponseWriter) http.ResponseWriter {
		return &unwraps{w}
	})},
	{name: "a writer with Unwrap around one with Flush", wrap: through(func(w http.ResponseWriter) http.ResponseWriter {
		return &unwraps{&flushes{w}}
	})},
	{name: "a writer with neither Flush nor Unwrap", wrap: through(func(w http.ResponseWriter) http.ResponseWriter {
		return &hides{w}
	}), refused: typeOf(&hides{})},
	{name: "a writer with Unwrap around one without Flush and Unwrap", wrap: through(func(w http.ResponseWriter) http.ResponseWriter {
		return &unwraps{&hides{w}}
	}), refused: "*middleware_test."}, // the error may name either writer
}

var (
	echoLogger = echomiddleware.RequestLoggerWithConfig(echomiddleware.RequestLoggerConfig{
		LogStatus: true, LogLatency: true, LogResponseSize: true,
		LogValuesFunc: func(echo.Context, echomiddleware.RequestLoggerValues) error { return nil },
	})
	chiLogger = chimiddleware.RequestLogger(&chimiddleware.DefaultLogFormatter{Logger: discard{}, NoColor: true})
)

func init() { gin.SetMode(gin.ReleaseMode) } // otherwise it prints its routes

type discard struct{}

func (discard) Print(...any) {}

func withEcho(middlewares ...echo.MiddlewareFunc) func(http.Handler) http.Handler {
	return func(events http.Handler) http.Handler {
		e := echo.New()
		e.Use(middlewares...)
		e.GET("/events", echo.WrapHandler(events))
		return e
	}
}

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

// Typical writers of custom middleware.
type (
	flushes struct{ w http.ResponseWriter }
	unwraps struct{ http.ResponseWriter }
	hides   struct{ http.ResponseWriter }
)

func (f *flushes) Header() http.Header         { return f.w.Header() }
func (f *flushes) WriteHeader(status int)      { f.w.WriteHeader(status) }
func (f *flushes) Write(p []byte) (int, error) { return f.w.Write(p) }
func (f *flushes) Flush()                      { f.w.(http.Flusher).Flush() }

func (u *unwraps) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// Behind every middleware stack, streams work as without it, or the response says why not.
func TestMiddlewareStacks(t *testing.T) {
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
	var requests atomic.Int64 // in the handler
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
	s.wantLive(t, second) // after the first was closed
	s.broker.Close()
	if data, err := second.next(); err != io.EOF {
		t.Errorf("a stream that ended properly ends with %.60q, %v", data, err)
	}
	eventually(t, "the requests have ended", func() bool {
		return requests.Load() == 0 && s.broker.Stats().Connections == 0
	})
	s.wantQuiet(t)
}

// A middleware counts the bytes that its client receives, unless it implements http.Hijacker, which lets the stream
// bypass it.
func TestMiddlewareCountsBytes(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			counting := make(chan *counts, 1)
			s := serve(t, protocol, through(func(w http.ResponseWriter) http.ResponseWriter {
				c := &counts{ResponseWriter: w}
				counting <- c
				return c
			}))
			r := s.get(t, "")
			r.wantStream(t, "")
			for range 10 {
				s.wantLive(t, r)
			}
			s.broker.Close()
			if _, err := r.next(); err != io.EOF {
				t.Fatal(err)
			}
			if c := <-counting; c.status != http.StatusOK || c.bytes.Load() != r.raw.n {
				t.Errorf("the middleware counted status %d and %d bytes, the client received 200 and %d bytes", c.status, c.bytes.Load(), r.raw.n)
			}
			s.wantQuiet(t)
		})
	}
}

// A counts is the writer of a typical request logger.
type counts struct {
	http.ResponseWriter
	status int
	bytes  atomic.Int64
}

func (c *counts) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counts) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counts) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// That a writer does not support deadlines is logged once, not for each client.
func TestNoDeadlinesLoggedOnce(t *testing.T) {
	s := serve(t, "HTTP/1.1", through(func(w http.ResponseWriter) http.ResponseWriter { return &flushes{w} }))
	first, second := s.get(t, ""), s.get(t, "")
	first.wantStream(t, "")
	second.wantStream(t, "")
	s.wantLive(t, first, second)
	if n := strings.Count(s.messages.String(), typeOf(&flushes{})); n != 1 {
		t.Errorf("the handler's log names the writer %d times:\n%s", n, s.messages)
	}
}

// A recorder of package httptest gets the stream like a connection.
func TestRecorder(t *testing.T) {
	for _, accepts := range []string{"", "gzip"} {
		t.Run(fmt.Sprintf("accepts %q", accepts), func(t *testing.T) {
			s := serve(t, "HTTP/1.1", func(events http.Handler) http.Handler { return events })
			header := http.Header{"Accept-Encoding": {accepts}}
			recorder, done := record(t, s.handler, header)
			eventually(t, "the stream has begun or failed", func() bool {
				select {
				case <-done:
					return true
				default:
					return s.broker.Stats().Connections == 1
				}
			})
			s.publish(t, "hello")
			s.broker.Close()
			<-done
			if recorder.Code != http.StatusOK || !recorder.Flushed {
				t.Fatalf("the response is %d: %s", recorder.Code, recorder.Body)
			}
			if body := recorder.Body.String(); strings.Count(body, "\ndata: hello\n\n") != 1 {
				t.Errorf("the body is %q", body)
			}
		})
	}
}
