package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func testDemo(t *testing.T, token string) *demo {
	t.Helper()
	page, dist := pageAndDist(t)
	c := &config{page: page, dist: dist, token: token, origins: []string{"https://app.example"}}
	return newDemo(c, slog.New(slog.DiscardHandler))
}

func startDemo(t *testing.T, token string) (*demo, string) {
	t.Helper()
	d := testDemo(t, token)
	s := httptest.NewServer(d.routes())
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return d, s.URL
}

func TestRoutes(t *testing.T) {
	_, url := startDemo(t, demoToken)
	const bearer, wrong = "Bearer demo-token", "Bearer x"
	tests := []struct {
		method, path, body, authorization string
		status                            int
	}{
		{"GET", "/", "", "", 200},
		{"HEAD", "/", "", "", 200},
		{"POST", "/", "", "", 405},
		{"GET", "/index.html", "", "", 404},
		{"GET", "/favicon.ico", "", "", 204},
		{"GET", "/docs/", "", "", 200},
		{"GET", "/docs/nothing.html", "", "", 404},
		{"GET", "/events", "", "", 200},
		{"GET", "/events?topic=chat&topic=stats", "", "", 200},
		{"GET", "/events?topic=private", "", "", 404},
		{"GET", "/events?topic=private", "", bearer, 404},
		{"POST", "/events", "topic=chat&data=x", "", 201},
		{"POST", "/events", "topic=private&data=x", bearer, 404},
		{"POST", "/events", "topic=chat&type=%0A", "", 400},
		{"DELETE", "/events", "", "", 405},
		{"GET", "/protected", "", "", 401},
		{"GET", "/protected", "", wrong, 401},
		{"GET", "/protected", "", bearer, 200},
		{"GET", "/protected?topic=private", "", bearer, 200},
		{"GET", "/protected?topic=nope", "", bearer, 404},
		{"GET", "/protected?topic=nope", "", "", 401},
		{"POST", "/protected", "topic=private&data=x", "", 401},
		{"POST", "/protected", "topic=private&data=x", bearer, 201},
		{"GET", "/demo/break", "", "", 405},
		{"GET", "/demo/answer", "", "", 405},
		{"POST", "/demo/config", "", "", 405},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			response, body := do(t, test.method, url+test.path, test.body, "Authorization", test.authorization)
			if response.StatusCode != test.status {
				t.Errorf("status %d, want %d: %s", response.StatusCode, test.status, body)
			}
			challenge := response.Header.Get("WWW-Authenticate")
			if (challenge != "") != (test.status == 401) || strings.Contains(challenge, "invalid_token") != (test.status == 401 && test.authorization != "") {
				t.Errorf("challenge %q", challenge)
			}
		})
	}
}

func TestOtherOrigins(t *testing.T) {
	_, url := startDemo(t, demoToken)
	tests := []struct {
		method, path string
		status       int
	}{
		{"POST", "/events", 403},
		{"POST", "/demo/break", 403},
		{"POST", "/demo/answer", 403},
		{"DELETE", "/demo/answer", 403},
		{"GET", "/demo/config", 200},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			response, _ := do(t, test.method, url+test.path, "topic=chat&status=503&seconds=60",
				"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
			if response.StatusCode != test.status || response.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("status %d, headers %v", response.StatusCode, response.Header)
			}
		})
	}
	response, _ := do(t, "GET", url+"/protected", "", "Origin", "https://app.example")
	if response.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("a listed origin cannot read the 401: %v", response.Header)
	}
}

func TestBreakStreams(t *testing.T) {
	_, url := startDemo(t, demoToken)
	stream, _ := do(t, "GET", url+"/events", "")
	if response, _ := do(t, "POST", url+"/demo/break", ""); response.StatusCode != http.StatusNoContent {
		t.Errorf("status %d", response.StatusCode)
	}
	if _, err := io.ReadAll(stream.Body); err != io.ErrUnexpectedEOF {
		t.Errorf("read: %v, want a broken transfer", err)
	}
}

func TestConfig(t *testing.T) {
	for token, want := range map[string]string{
		demoToken: `{"topics":["chat","stats"],"protectedTopics":["chat","stats","private"],"token":"demo-token","answer":{"status":200,"until":null}}`,
		"secret":  `{"topics":["chat","stats"],"protectedTopics":["chat","stats","private"],"answer":{"status":200,"until":null}}`,
	} {
		_, url := startDemo(t, token)
		if _, body := do(t, "GET", url+"/demo/config", ""); strings.TrimSpace(body) != want {
			t.Errorf("got %s, want %s", body, want)
		}
	}
}

func TestOutage(t *testing.T) {
	_, url := startDemo(t, demoToken)
	stream, _ := do(t, "GET", url+"/events", "")
	response, body := do(t, "POST", url+"/demo/answer", `{"status":503,"seconds":60}`, "Content-Type", "application/json")
	var state answer
	if err := json.Unmarshal([]byte(body), &state); err != nil || response.StatusCode != 200 || state.Status != 503 || state.Until == nil {
		t.Fatalf("status %d, body %s", response.StatusCode, body)
	}
	if _, err := io.ReadAll(stream.Body); err != io.ErrUnexpectedEOF {
		t.Errorf("the outage did not end open streams: %v", err)
	}
	for _, path := range []string{"/events", "/protected"} {
		response, _ := do(t, "GET", url+path, "")
		if after := response.Header.Get("Retry-After"); response.StatusCode != 503 || after != "60" {
			t.Errorf("%s: status %d, Retry-After %q", path, response.StatusCode, after)
		}
	}
	if response, _ := do(t, "POST", url+"/events", "topic=chat"); response.StatusCode != 201 {
		t.Errorf("publishing: status %d", response.StatusCode)
	}
	do(t, "POST", url+"/demo/answer", "status=401&seconds=60")
	if response, _ := do(t, "GET", url+"/events", ""); response.StatusCode != 401 {
		t.Errorf("status %d, want 401", response.StatusCode)
	}
	do(t, "POST", url+"/demo/answer", "status=204&seconds=60")
	if response, _ := do(t, "GET", url+"/events", ""); response.StatusCode != 204 {
		t.Errorf("status %d, want 204", response.StatusCode)
	}
	for _, reset := range []struct{ method, body string }{{"DELETE", ""}, {"POST", "status=200"}} {
		do(t, "POST", url+"/demo/answer", "status=204&seconds=60")
		_, body := do(t, reset.method, url+"/demo/answer", reset.body)
		if strings.TrimSpace(body) != `{"status":200,"until":null}` {
			t.Errorf("%s: answer %s, want status 200 without a time limit", reset.method, body)
		}
		if response, _ := do(t, "GET", url+"/events", ""); response.StatusCode != 200 {
			t.Errorf("%s: status %d", reset.method, response.StatusCode)
		}
	}
}

func TestInvalidOutage(t *testing.T) {
	d, url := startDemo(t, demoToken)
	tests := map[string]struct{ contentType, body, field string }{
		"status":     {form, "status=500&seconds=5", "status"},
		"no status":  {form, "seconds=5", "status"},
		"no seconds": {form, "status=503", "seconds"},
		"too long":   {"application/json", `{"status":503,"seconds":61}`, "seconds"},
		"negative":   {form, "status=503&seconds=-1", "seconds"},
		"not JSON":   {"application/json", `{`, "body"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			response, body := do(t, "POST", url+"/demo/answer", test.body, "Content-Type", test.contentType)
			if response.StatusCode != 400 || !strings.Contains(body, `"field":"`+test.field+`"`) {
				t.Errorf("status %d, body %s", response.StatusCode, body)
			}
			if d.outage.answer().Until != nil {
				t.Error("an invalid request started an outage")
			}
		})
	}
}

func TestOutageEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outage
		o.set(http.StatusNoContent, time.Minute)
		<-time.After(time.Minute - 1)
		if got := o.answer(); got.Status != http.StatusNoContent {
			t.Errorf("status %d before the end", got.Status)
		}
		<-time.After(1)
		if got := o.answer(); got.Status != http.StatusOK || got.Until != nil {
			t.Errorf("%+v at the end", got)
		}
	})
}

// streamWriter is a response writer whose body can be read while it is written.
type streamWriter struct {
	*io.PipeWriter
	header http.Header
}

func (w *streamWriter) Header() http.Header              { return w.header }
func (w *streamWriter) WriteHeader(int)                  {}
func (w *streamWriter) Flush()                           {}
func (w *streamWriter) SetReadDeadline(time.Time) error  { return nil }
func (w *streamWriter) SetWriteDeadline(time.Time) error { return nil }

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDemo(t, demoToken)
		go d.feed(t.Context())
		<-time.After(time.Minute)
		synctest.Wait()
		if got := d.broker.Stats().Published; got != 0 {
			t.Fatalf("%d events published without clients", got)
		}

		body, writer := io.Pipe()
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/events?topic=stats", nil)
		go d.routes().ServeHTTP(&streamWriter{writer, http.Header{}}, request)
		begun := time.Now()
		lines := bufio.NewScanner(body)
		for seconds := 1; seconds <= 3; seconds++ {
			got := nextFigures(t, lines)
			if got.Connections != 1 || got.Goroutines < 2 || got.HeapBytes == 0 || got.UptimeSeconds != int64(60+seconds) {
				t.Errorf("got %+v", got)
			}
			if elapsed := time.Since(begun); elapsed != time.Duration(seconds)*time.Second {
				t.Errorf("after %v", elapsed)
			}
			if got.EventsPublished != uint64(seconds-1) || got.EventsSent != int64(seconds-1) {
				t.Errorf("got %+v", got)
			}
		}
		body.Close()
	})
}

func nextFigures(t *testing.T, lines *bufio.Scanner) (f figures) {
	t.Helper()
	event := ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			event = value
		case "data":
			decoder := json.NewDecoder(bytes.NewReader([]byte(value)))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&f); err != nil || event != "stats" {
				t.Fatalf("event %q, %v", event, err)
			}
			return f
		}
	}
	t.Fatal(lines.Err())
	return f
}
