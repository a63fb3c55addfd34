//go:build !js

package eventsource_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/wasm/eventsource"
	"github.com/eventsource-wasm/eventsource-wasm/wasm/lifecycle"
)

const (
	opened      = "open 200 http://a.example/events attempt 1 resumed false"
	reopened    = "open 200 http://a.example/events attempt 1 resumed true"
	openedAgain = "open 200 http://a.example/events attempt 2 resumed false"
	ended       = "error ended, retry in 3s"
	aborted     = "end: eventsource: the context is done: context canceled"
)

func TestStream(t *testing.T) {
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{})
		x := l.next()
		l.wantHeader(x, "Accept", "text/event-stream")
		l.wantHeader(x, "Cache-Control", "no-cache")
		l.wantHeader(x, "Last-Event-Id")
		if x.Method != "GET" || x.RequestURI != "/events" || x.Host != "a.example" {
			l.Errorf("%s %s of %s", x.Method, x.RequestURI, x.Host)
		}
		x.write(stream)
		l.want(opened)
		x.write("\xEF\xBB\xBFdata: a\r", "\ndata:b\r\r", "event: tick\nid: 1\ndata: \xC3", "\xA9\n", "\n: comment\n\ndata\n\nid: 2\n\n")
		l.want(`message "a\nb" `, `tick "é" 1`, `message "" 1`)
		if id := l.source.LastEventID(); id != "2" {
			l.Errorf("the last event ID is %q", id)
		}
		x.end()
		l.want("error ended, retry in 3s")
		x = l.nextAfter(3 * time.Second)
		l.wantHeader(x, "Last-Event-Id", "2")
		x.write(stream, "data: c\n\n")
		l.want(reopened, `message "c" 2`)
		l.cancel()
		l.want(aborted, "over")
		l.wantClosed(x)
	})
}

// An unfinished event changes nothing, whether the stream ends or breaks.
func TestHalfReceivedEvent(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, tt := range map[string]struct{ response, reason string }{
		"ended":  {stream + "id: 1\ndata: a\n\nid: 2\nretry: 20\ndata: b\n", "ended"},
		"broken": {chunked + "27\r\nid: 1\ndata: a\n\nid: 2\nretry: 20\ndata: b\n\r\n", "network"},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				l.open(eventsource.Options{})
				l.next().write(tt.response).end()
				l.want(opened, `message "a" 1`, "error "+tt.reason+", retry in 20ms")
				x := l.nextAfter(20 * time.Millisecond)
				l.wantHeader(x, "Last-Event-Id", "1")
				x.write(stream, "\ndata: c\n\n")
				l.want(reopened, `message "c" 1`)
			})
		})
	}
}

func TestResponses(t *testing.T) {
	for head, want := range map[string][]string{
		"200 OK\r\nContent-Type: Text/Event-Stream ;charset=x":                          {opened},
		"200 OK\r\nContent-Type: text/plain\r\nContent-Type: text/event-stream":         {opened},
		"200 OK\r\nContent-Type: text/plain":                                            {"error content-type", "end: eventsource: the response's Content-Type is not text/event-stream", "over"},
		"200 OK\r\nX: y":                                                                {"error content-type", "end: eventsource: the response's Content-Type is not text/event-stream", "over"},
		"201 Created\r\nContent-Type: text/event-stream":                                {"error status", "end: eventsource: the response's status is not 200 but 201", "over"},
		"204 No Content\r\nX: y":                                                        {"error status", "over"},
		"206 Partial\r\nContent-Type: text/event-stream":                                {"error status", "end: eventsource: the response's status is not 200 but 206", "over"},
		"302 Found\r\nContent-Length: 0":                                                {"error status", "end: eventsource: the response's status is not 200 but 302", "over"},
		"503 Unavailable\r\nContent-Type: text/event-stream\r\nContent-Length: 0":       {"error status", "end: eventsource: the response's status is not 200 but 503", "over"},
		"401 Unauthorized\r\nContent-Type: application/json\r\nTransfer-Encoding: none": {"error network, retry in 3s"},
	} {
		t.Run(head[:3], func(t *testing.T) {
			inLab(t, func(l *lab) {
				l.open(eventsource.Options{})
				x := l.next().write("HTTP/1.1 " + head + "\r\n\r\n")
				if strings.HasSuffix(head, "Length: 0") || strings.HasPrefix(head, "204") {
					x.end()
				} else if want[len(want)-1] == "over" {
					time.Sleep(time.Second) // the source waits for a body, which does not come
					l.wantClosed(x)
				}
				l.want(want...)
			})
		})
	}
}

func TestErrorHasResponseDetails(t *testing.T) {
	inLab(t, func(l *lab) {
		l.openURL(there+"?ticket=secret", eventsource.Options{})
		done := make(chan error)
		go func() { done <- l.read() }()
		l.next().write("HTTP/1.1 403 Forbidden\r\nX-Why: no\r\n\r\n", `{"why":`, strings.Repeat("x", 2000))
		err := <-done
		e, ok := errors.AsType[*eventsource.Error](err)
		if !ok || !errors.Is(err, eventsource.ReasonStatus) || errors.Is(err, eventsource.ReasonNetwork) {
			l.Fatalf("%#v", err)
		}
		if e.Status != 403 || http.Header(e.Header).Get("X-Why") != "no" || e.URL != there+"?ticket=secret" || e.Attempt != 1 || e.WillRetry {
			l.Errorf("%+v", e)
		}
		if !strings.HasPrefix(string(e.Body), `{"why":xxx`) || len(e.Body) != 1024 {
			l.Errorf("%d bytes of body: %q", len(e.Body), e.Body)
		}
		if strings.Contains(err.Error(), "secret") {
			l.Errorf("the query is in %q", err)
		}
	})
}

func TestReconnectsToFinalURL(t *testing.T) {
	redirect := func(status int, to string) string {
		return fmt.Sprintf("HTTP/1.1 %d Redirect\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", status, to)
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for to, same := range map[string]bool{
			"/final": true, "http://a.example:80/final": true,
			"http://a.example:81/final": false, "http://b.a.example/final": false, "http://b.example/final": false,
		} {
			t.Run(fmt.Sprint(status, to), func(t *testing.T) {
				secrets := []string{"Authorization", "Cookie"}
				check := func(l *lab, x *exchange) {
					for _, name := range secrets {
						if got := x.Header.Get(name); (got != "") != same {
							l.Errorf("to %s%s with %s %q", x.Host, x.URL, name, got)
						}
					}
					if x.Header.Get("X-Tenant") != "7" || !same && x.Header.Get("Referer") != "" {
						l.Errorf("to %s with %v", x.Host, x.Header)
					}
				}
				inLab(t, func(l *lab) {
					header := http.Header{"authorization": {"Bearer a"}, "Cookie": {"b=c"}, "X-Tenant": {"7"}}
					l.open(eventsource.Options{Header: header})
					l.next().write(redirect(status, to)).end()
					x := l.next()
					if check(l, x); x.URL.Path != "/final" {
						l.Errorf("redirected to %s", x.URL)
					}
					x.write(stream, "id: 1\n\n").end()
					x = l.nextAfter(3 * time.Second)
					if check(l, x); x.URL.Path != "/final" {
						l.Errorf("reconnected to %s", x.URL)
					}
					l.wantHeader(x, "Last-Event-Id", "1")
				})
			})
		}
	}
}

// Credentials do not return when another origin redirects back to the first one.
func TestRedirectBackHasNoCredentials(t *testing.T) {
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{Header: http.Header{"Authorization": {"Bearer a"}}})
		l.next().write("HTTP/1.1 307 R\r\nLocation: http://b.example/\r\nContent-Length: 0\r\n\r\n").end()
		l.next().write("HTTP/1.1 307 R\r\nLocation: http://a.example/back\r\nContent-Length: 0\r\n\r\n").end()
		l.wantHeader(l.next(), "Authorization")
	})
}

func TestRedirectLimit(t *testing.T) {
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{})
		for range 21 {
			l.next().write("HTTP/1.1 307 R\r\nLocation: /\r\nContent-Length: 0\r\n\r\n").end()
		}
		l.want("error network, retry in 3s")
	})
	inLab(t, func(l *lab) {
		client := l.client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		l.open(eventsource.Options{Transport: eventsource.Transport{Client: client}})
		l.next().write("HTTP/1.1 307 R\r\nLocation: /\r\nContent-Length: 0\r\n\r\n").end()
		l.want("error status", "end: eventsource: the response's status is not 200 but 307", "over")
	})
}

func TestReconnectionTimes(t *testing.T) {
	for retry, want := range map[string]time.Duration{
		"": 3 * time.Second, "retry: 0\n": 0, "retry: 20\nretry: x\n": 20 * time.Millisecond,
		"retry: 2147483648\n": 1 << 31 * time.Millisecond,
	} {
		t.Run(retry, func(t *testing.T) {
			inLab(t, func(l *lab) {
				l.open(eventsource.Options{})
				l.next().write(stream, retry).end()
				l.nextAfter(want)
			})
		})
	}
}

func TestRetryPolicy(t *testing.T) {
	policy := &eventsource.Retry{Initial: time.Second, Max: 5 * time.Second, Jitter: -1, Attempts: 5}
	const unavailable = "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n"
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{Retry: policy})
		policy.Initial, policy.Statuses = time.Hour, []int{} // the source has a copy
		l.next().write(unavailable + "\r\n").end()
		l.nextAfter(time.Second).write(unavailable + "Retry-After: 60\r\n\r\n").end()
		date := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
		l.nextAfter(time.Minute).write(unavailable + "Retry-After: " + date + "\r\n\r\n").end()
		x := l.next()
		if waited := time.Since(l.begun); waited.Round(time.Second) != 91*time.Second {
			l.Errorf("Retry-After took %s", waited)
		}
		x.write(stream).end() // not open long enough to reset the count of failures
		got := l.reports()
		if want := []string{"error status, retry in 1s", "error status, retry in 1m0s"}; len(got) != 5 || !slices.Equal(got[:2], want) {
			l.Errorf("reported %q", got)
		}
		if want := []string{"open 200 http://a.example/events attempt 4 resumed false", "error ended, retry in 5s"}; !slices.Equal(got[3:], want) {
			l.Errorf("reported %q", got)
		}
		x = l.nextAfter(5 * time.Second).write(stream)
		time.Sleep(5 * time.Second)
		x.end()
		l.want(opened, "error ended, retry in 1s")
		for _, delay := range []time.Duration{1, 2, 4, 5} {
			l.nextAfter(delay * time.Second).write(unavailable + "Retry-After: soon\r\n\r\n").end()
		}
		l.want("error status, retry in 2s", "error status, retry in 4s", "error status, retry in 5s",
			"error status", "end: eventsource: the response's status is not 200 but 503", "over")
	})
}

func TestRetryDefaults(t *testing.T) {
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{Retry: &eventsource.Retry{}})
		var waited time.Duration
		for range 20 {
			begun := time.Now()
			x := l.next()
			if delay := time.Since(begun); delay > 30*time.Second {
				l.Errorf("a delay of %s", delay)
			} else {
				waited += delay
			}
			x.write("HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n").end()
		}
		if waited == 0 {
			l.Error("no delay")
		}
		l.next().write("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n").end()
		got := l.reports()
		if last := got[len(got)-2:]; !slices.Equal(last, []string{"end: eventsource: the response's status is not 200 but 400", "over"}) {
			l.Errorf("the last reports are %q", last)
		}
	})
}

func TestIdleTimeout(t *testing.T) {
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{IdleTimeout: 10 * time.Second})
		x := l.next()
		time.Sleep(10 * time.Second)
		l.want("error idle, retry in 3s")
		l.wantClosed(x)
		x = l.nextAfter(3 * time.Second).write(stream)
		for range 3 {
			time.Sleep(9 * time.Second)
			x.write(":\n")
		}
		l.want(openedAgain)
		time.Sleep(10 * time.Second)
		l.want("error idle, retry in 3s")
		l.wantClosed(x)
	})
}

// The time that the program spends on an event does not count as silence of the server.
func TestSlowProgramIsNotIdle(t *testing.T) {
	inLab(t, func(l *lab) {
		l.openURL(there, eventsource.Options{IdleTimeout: time.Second})
		go func() {
			for _, err := range l.source.Events(l.reading) {
				if err == nil {
					time.Sleep(time.Minute)
				}
			}
		}()
		x := l.next().write(stream, "data: a\n\n")
		time.Sleep(time.Minute)
		l.want(opened)
		time.Sleep(time.Second)
		l.want("error idle, retry in 3s")
		l.wantClosed(x)
	})
}

func TestLimit(t *testing.T) {
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{MaxEventSize: 10})
		x := l.next().write(stream, "data: 0123456789\n\ndata: 0123456789a", "bc\n\n")
		l.want(opened, `message "0123456789" `, "error limit", "end: eventsource: an event of the stream is larger than MaxEventSize", "over")
		l.wantClosed(x)
	})
}

func TestCancel(t *testing.T) {
	for name, reach := range map[string]func(l *lab){
		"before the request":           func(*lab) {},
		"before the response":          func(l *lab) { l.next() },
		"while it streams":             func(l *lab) { l.next().write(stream) },
		"while it waits":               func(l *lab) { l.next().write(stream).end() },
		"while reading the error body": func(l *lab) { l.next().write("HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\n12") },
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				cause := errors.New("enough")
				ctx, cancel := context.WithCancelCause(l.Context())
				source, err := eventsource.New(there, eventsource.Options{Transport: eventsource.Transport{Client: l.client()}, Retry: &eventsource.Retry{}})
				if err != nil {
					l.Fatal(err)
				}
				if name == "before the request" {
					cancel(cause)
				}
				done := make(chan error)
				go func() { done <- readAll(ctx, source) }()
				reach(l)
				synctest.Wait()
				begun := time.Now()
				cancel(cause)
				if err := <-done; !errors.Is(err, eventsource.ReasonAborted) || !errors.Is(err, cause) || time.Since(begun) > 0 {
					l.Errorf("ended by %v after %s", err, time.Since(begun))
				}
			})
		})
	}
}

// Leaving the loop closes the connection. The next loop gets the events that this one has not received.
func TestNextLoopResumes(t *testing.T) {
	inLab(t, func(l *lab) {
		l.openURL(there, eventsource.Options{})
		x := make(chan *exchange)
		go func() {
			first := l.next().write(stream, "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n")
			x <- first
		}()
		for event, err := range l.source.Events(l.reading) {
			if err != nil {
				l.Fatal(err)
			}
			if event.Data == "b" {
				break
			}
		}
		l.wantClosed(<-x)
		if id := l.source.LastEventID(); id != "2" {
			l.Errorf("the last event ID is %q", id)
		}
		go func() { x <- l.next() }()
		go func() {
			for range l.source.Events(l.reading) {
			}
		}()
		l.wantHeader(<-x, "Last-Event-Id", "2")
	})
}

// If the loop's body cancels the context, events that have arrived do not count as received: a later source gets them.
func TestCancelInLoop(t *testing.T) {
	inLab(t, func(l *lab) {
		l.openURL(there, eventsource.Options{})
		go func() { l.next().write(stream, "id: 1\ndata: a\n\nid: 2\ndata: b\n\n") }()
		var got []string
		for event, err := range l.source.Events(l.reading) {
			if err != nil {
				got = append(got, err.Error())
			} else {
				got = append(got, event.Data)
			}
			l.cancel()
		}
		if want := []string{"a", aborted[len("end: "):]}; !slices.Equal(got, want) || l.source.LastEventID() != "1" {
			l.Errorf("got %q up to %q", got, l.source.LastEventID())
		}
	})
}

func TestSecondReaderFails(t *testing.T) {
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{})
		x := l.next()
		if err := l.read(); err == nil || !strings.Contains(err.Error(), "being read") {
			l.Errorf("a second reader: %v", err)
		}
		x.write(stream)
		l.want(opened)
	})
}

// Events of a compressed stream arrive when the server flushes, not when a buffer is full.
func TestGzip(t *testing.T) {
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{})
		x := l.next()
		l.wantHeader(x, "Accept-Encoding", "gzip")
		x.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n")
		var compressed bytes.Buffer
		w := gzip.NewWriter(&compressed)
		l.want(opened)
		for _, data := range []string{"a", "b"} {
			fmt.Fprintf(w, "data: %s\n\n", data)
			if err := w.Flush(); err != nil {
				l.Fatal(err)
			}
			x.write(string(compressed.Next(compressed.Len())))
			l.want(`message "` + data + `" `)
		}
		x.end()
		l.want("error network, retry in 3s") // without gzip's end
	})
}

// The client's Timeout is ignored, and the client is not modified.
func TestClientTimeout(t *testing.T) {
	inLab(t, func(l *lab) {
		client := l.client()
		client.Timeout = time.Second
		l.open(eventsource.Options{Transport: eventsource.Transport{Client: client}})
		x := l.next().write(stream)
		time.Sleep(time.Hour)
		x.write("data: a\n\n")
		l.want(opened, `message "a" `)
		if client.Timeout != time.Second || client.CheckRedirect != nil {
			l.Error("the caller's client was modified")
		}
	})
}

func TestNetworkErrors(t *testing.T) {
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{})
		l.next().end()
		l.want("error network, retry in 3s")
		l.next().write("nonsense\r\n\r\n").end()
		l.want("error network, retry in 3s")
		x := l.next().write(stream)
		l.want("open 200 http://a.example/events attempt 3 resumed false")
		x.end()
		l.want(ended)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A query may contain a token. Errors of net/http contain the URL once for each client that the request went through.
func TestNetworkErrorsHaveNoURL(t *testing.T) {
	broken := errors.New("broken")
	inner := http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, broken })}
	outer := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) { return inner.Do(r.Clone(r.Context())) })}
	ctx, cancel := context.WithCancel(t.Context())
	var got *eventsource.Error
	source, err := eventsource.New("http://a.example/events?ticket=secret", eventsource.Options{
		Transport: eventsource.Transport{Client: outer},
		OnError: func(e *eventsource.Error) {
			got = e
			cancel()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range source.Events(ctx) {
	}
	if !errors.Is(got, broken) || !errors.Is(got, eventsource.ReasonNetwork) || strings.Contains(got.Error(), "secret") {
		t.Errorf("error %v", got)
	}
}

func TestInvalidOptions(t *testing.T) {
	type options = eventsource.Options
	body := func(context.Context, eventsource.Attempt) ([]byte, error) { return nil, nil }
	header := func(context.Context, eventsource.Attempt) (map[string][]string, error) { return nil, nil }
	retry := func(r eventsource.Retry) options { return options{Retry: &r} }
	for _, tt := range []struct {
		url     string
		options options
		want    string
	}{
		{"", options{}, "absolute"},
		{"/events", options{}, "absolute"},
		{"ftp://a.example/", options{}, "http or https"},
		{"http://a.example:secret/", options{}, "the URL is invalid"},
		{"http://user:secret@a.example/", options{}, "Authorization"},
		{"http://this is invalid/", options{}, "the URL is invalid"},
		{"http://a<b/", options{}, "forbidden character"},
		{"http://a>b:8080/", options{}, "forbidden character"},
		{there, options{Header: http.Header{"A B": nil}}, `"A B"`},
		{there, options{Header: http.Header{"": nil}}, `""`},
		{there, options{Header: http.Header{"A": {"secret\x00"}}}, "of A "},
		{there, options{Header: http.Header{}, HeaderFunc: header}, "HeaderFunc"},
		{there, options{Method: "G T"}, "Method"},
		{there, options{BodyFunc: body}, "Body"},
		{there, options{BodyFunc: body, Method: "HEAD"}, "Body"},
		{there, options{Body: []byte{}}, "Body"},
		{there, options{Body: []byte{}, BodyFunc: body, Method: "POST"}, "BodyFunc"},
		{there, options{ResumeByGET: true}, "ResumeByGET"},
		{there, options{ResumeByGET: true, Method: "HEAD"}, "ResumeByGET"},
		{there, options{Accept: eventsource.Accept{Statuses: []int{201, 204}}}, "Accept.Statuses: 204"},
		{there, options{Accept: eventsource.Accept{Statuses: []int{205}}}, "Accept.Statuses: 205"},
		{there, options{Accept: eventsource.Accept{Statuses: []int{302}}}, "Accept.Statuses: 302"},
		{there, options{Accept: eventsource.Accept{ContentTypes: []string{"text/plain; charset=utf-8"}}}, `ContentTypes: "text/plain; charset=utf-8"`},
		{there, options{Accept: eventsource.Accept{ContentTypes: []string{"text"}}}, `ContentTypes: "text"`},
		{there, options{Accept: eventsource.Accept{ContentTypes: []string{"*/*"}}}, `ContentTypes: "*/*"`},
		{there, options{LastEventID: "1\n"}, "LastEventID"},
		{there, options{MaxEventSize: -1}, "MaxEventSize"},
		{there, options{IdleTimeout: -1}, "IdleTimeout"},
		{there, options{IdleTimeout: time.Microsecond}, "IdleTimeout"},
		{there, retry(eventsource.Retry{Initial: -1}), "Retry.Initial"},
		{there, retry(eventsource.Retry{Max: time.Microsecond}), "Retry.Max"},
		{there, retry(eventsource.Retry{Factor: 0.5}), "Retry.Factor"},
		{there, retry(eventsource.Retry{Jitter: 1.5}), "Retry.Jitter"},
		{there, retry(eventsource.Retry{Attempts: -1}), "Retry.Attempts"},
		{there, retry(eventsource.Retry{ResetAfter: 25 * 24 * time.Hour}), "Retry.ResetAfter"},
		{there, retry(eventsource.Retry{Statuses: []int{503, 204}}), "Retry.Statuses: 204"},
		{there, retry(eventsource.Retry{Statuses: []int{200}}), "Retry.Statuses: 200"},
	} {
		source, err := eventsource.New(tt.url, tt.options)
		if source != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want an error with %s", tt.url, err, tt.want)
		}
	}
}

func TestReasonsAreSentences(t *testing.T) {
	for _, reason := range []eventsource.Reason{
		eventsource.ReasonEnded, eventsource.ReasonNetwork, eventsource.ReasonIdle, eventsource.ReasonStatus,
		eventsource.ReasonContentType, eventsource.ReasonLimit, eventsource.ReasonHeaders, eventsource.ReasonBody,
		eventsource.ReasonAborted, eventsource.ReasonCORS, eventsource.ReasonCSP, eventsource.ReasonURL,

		// Sources report these with the words of package lifecycle. They never wake a connection, and know why a request is forbidden.
		eventsource.Reason(lifecycle.ReasonEnded), eventsource.Reason(lifecycle.ReasonNetwork), eventsource.Reason(lifecycle.ReasonStatus),
		eventsource.Reason(lifecycle.ReasonContentType), eventsource.Reason(lifecycle.ReasonLimit),
	} {
		if text := reason.Error(); text == string(reason) || !strings.Contains(text, " ") {
			t.Errorf("%s: %q", string(reason), text)
		}
	}
}
