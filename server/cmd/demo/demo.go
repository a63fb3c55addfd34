package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

var (
	openTopics      = []string{"chat", "stats"}
	protectedTopics = []string{"chat", "stats", "private"}
)

// statsInterval is long enough that statistics do not displace the chat's history: in the hour that the broker keeps
// events, they take 3,600 of 10,000 events and less than 1 of 16 MB.
const statsInterval = time.Second

// Statistics are published for afterglow after the last client has left, so that clients that lost their connection miss some.
const afterglow = 30 * time.Second

// reconnection is the default reconnection time of browsers. Every client gets it, so that all return at the same time.
const reconnection = 3 * time.Second

// An authorizer is a [server.Handler.Authorize].
type authorizer = func(*http.Request, server.Access) (server.Grant, error)

// A demo is the state of the demo server.
type demo struct {
	config    *config
	logger    *slog.Logger
	started   time.Time
	broker    *server.Broker
	outage    outage
	slowness  slowness
	connected time.Time // when feed last saw a connection
}

func newDemo(c *config, logger *slog.Logger) *demo {
	return &demo{
		config:  c,
		logger:  logger,
		started: time.Now(),
		broker:  &server.Broker{Topics: protectedTopics},
	}
}

func (d *demo) site() *site {
	return &site{mux: d.routes(), broker: d.broker, tasks: []func(context.Context){d.feed}}
}

func (d *demo) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", page(d.config.page))
	mux.Handle("GET /dist/", http.StripPrefix("/dist/", assets(d.config.dist)))
	mux.Handle("GET /docs/", http.StripPrefix("/docs/", http.FileServer(http.Dir(filepath.Join(d.config.dist, "docs"))))) // by make docs
	mux.Handle("/conformance/", (&e2e.Suite{Dist: assets(d.config.dist)}).Handler())
	mux.Handle("/events", d.stream(openTopics, permitAll))
	mux.Handle("/protected", d.stream(protectedTopics, server.BearerToken(d.config.token)))
	mux.Handle("POST /demo/break", sameOrigin(d.breakStreams))
	mux.Handle("POST /demo/answer", sameOrigin(d.setAnswer))
	mux.Handle("DELETE /demo/answer", sameOrigin(d.resetAnswer))
	mux.Handle("POST /demo/slow", sameOrigin(d.slowDown))
	mux.HandleFunc("GET /demo/config", d.showConfig)
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

func permitAll(*http.Request, server.Access) (server.Grant, error) { return server.Grant{}, nil }

func (d *demo) stream(topics []string, authorize authorizer) http.Handler {
	return d.slowness.slow(&server.Handler{
		Broker:         d.broker,
		Topics:         topics,
		Authorize:      d.outage.before(authorize),
		AllowedOrigins: d.config.origins,
		Logger:         d.logger,
		Retry:          reconnection,
	})
}

func sameOrigin(handle http.HandlerFunc) http.Handler {
	return http.NewCrossOriginProtection().Handler(handle)
}

// figures is the data of an event of the topic stats.
type figures struct {
	Connections     int64  `json:"connections"`
	Goroutines      int    `json:"goroutines"`
	HeapBytes       uint64 `json:"heapBytes"`
	EventsPublished uint64 `json:"eventsPublished"`
	EventsSent      int64  `json:"eventsSent"`
	UptimeSeconds   int64  `json:"uptimeSeconds"`
	Time            int64  `json:"time"` // in milliseconds since 1970
}

// feed publishes statistics at every interval while clients are connected, and for afterglow longer, until ctx is done.
func (d *demo) feed(ctx context.Context) {
	ticker := time.NewTicker(statsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.publishFigures()
		}
	}
}

func (d *demo) publishFigures() {
	stats, now := d.broker.Stats(), time.Now()
	if stats.Connections > 0 {
		d.connected = now
	} else if now.Sub(d.connected) > afterglow {
		return
	}
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	data, err := json.Marshal(figures{
		Connections:     stats.Connections,
		Goroutines:      runtime.NumGoroutine(),
		HeapBytes:       heap[0].Value.Uint64(),
		EventsPublished: stats.Published,
		EventsSent:      stats.Delivered,
		UptimeSeconds:   int64(now.Sub(d.started).Seconds()),
		Time:            now.UnixMilli(),
	})
	if err == nil {
		_, err = d.broker.Publish(context.Background(), "stats", sse.Event{Type: "stats", Data: string(data)})
	}
	if err != nil && !errors.Is(err, server.ErrClosed) {
		d.logger.Error("cannot publish the statistics", "error", err)
	}
}

func (d *demo) breakStreams(w http.ResponseWriter, _ *http.Request) {
	d.broker.DisconnectAll()
	w.WriteHeader(http.StatusNoContent)
}

func (d *demo) showConfig(w http.ResponseWriter, _ *http.Request) {
	config := struct {
		Topics          []string `json:"topics"`          // of /events
		ProtectedTopics []string `json:"protectedTopics"` // of /protected
		Token           string   `json:"token,omitempty"` // of the demo, which is not a secret
		Answer          answer   `json:"answer"`
	}{openTopics, protectedTopics, "", d.outage.answer()}
	if d.config.token == demoToken {
		config.Token = demoToken
	}
	writeJSON(w, http.StatusOK, config)
}

func (d *demo) setAnswer(w http.ResponseWriter, r *http.Request) {
	status, seconds, field := readAnswer(r)
	if field != "" {
		writeJSON(w, http.StatusBadRequest, map[string]string{
			"error": "status must be 200, 204, 401 or 503, and seconds 1 to 60",
			"field": field,
		})
		return
	}
	d.outage.set(status, time.Duration(seconds)*time.Second)
	if status != http.StatusOK {
		d.broker.DisconnectAll()
	}
	writeJSON(w, http.StatusOK, d.outage.answer())
}

func (d *demo) resetAnswer(w http.ResponseWriter, _ *http.Request) {
	d.outage.set(http.StatusOK, 0)
	writeJSON(w, http.StatusOK, d.outage.answer())
}

func (d *demo) slowDown(w http.ResponseWriter, r *http.Request) {
	seconds, _ := strconv.Atoi(r.PostFormValue("seconds"))
	if seconds < 1 || seconds > 60 {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "seconds must be 1 to 60", "field": "seconds"})
		return
	}
	d.slowness.set(time.Duration(seconds) * time.Second)
	w.WriteHeader(http.StatusNoContent)
}

// readAnswer returns the answer in the request, or the field that is wrong.
func readAnswer(r *http.Request) (status, seconds int, field string) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var body struct{ Status, Seconds int }
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<10)).Decode(&body); err != nil {
			return 0, 0, "body"
		}
		status, seconds = body.Status, body.Seconds
	} else {
		status, _ = strconv.Atoi(r.PostFormValue("status"))
		seconds, _ = strconv.Atoi(r.PostFormValue("seconds"))
	}
	switch status {
	case http.StatusOK:
		return status, 0, ""
	case http.StatusNoContent, http.StatusUnauthorized, http.StatusServiceUnavailable:
	default:
		return 0, 0, "status"
	}
	if seconds < 1 || seconds > 60 {
		return 0, 0, "seconds"
	}
	return status, seconds, ""
}

// An outage makes the streams answer with a status for a while.
type outage struct {
	mu     sync.Mutex
	status int
	until  time.Time
}

// An answer is the state of an outage as the page sees it.
type answer struct {
	Status int        `json:"status"` // 200 when there is no outage
	Until  *time.Time `json:"until"`
}

func (o *outage) set(status int, lasts time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status, o.until = status, time.Now().Add(lasts)
}

func (o *outage) answer() answer {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !time.Now().Before(o.until) {
		return answer{Status: http.StatusOK}
	}
	until := o.until
	return answer{o.status, &until}
}

// before wraps authorize: during an outage, every GET gets its status.
func (o *outage) before(authorize authorizer) authorizer {
	return func(r *http.Request, access server.Access) (server.Grant, error) {
		now := o.answer()
		switch {
		case now.Until == nil || access.Action != server.ActionSubscribe:
			return authorize(r, access)
		case now.Status == http.StatusUnauthorized:
			return server.Grant{}, server.ErrUnauthenticated
		case now.Status == http.StatusServiceUnavailable:
			return server.Grant{}, &server.HTTPError{Status: now.Status, RetryAfter: time.Until(*now.Until)}
		}
		return server.Grant{}, &server.HTTPError{Status: now.Status}
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // fails only if the client is gone
}
