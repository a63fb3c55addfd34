//go:build !js

package eventsource_test

import (
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
)

// HeaderFunc can renew a token that was refused. The source resumes where it was.
func TestHeaderFunc(t *testing.T) {
	inLab(t, func(l *lab) {
		var attempts []string
		l.open(eventsource.Options{
			LastEventID: "7",
			Retry:       &eventsource.Retry{Jitter: -1, Statuses: []int{401}},
			HeaderFunc: func(_ context.Context, a eventsource.Attempt) (map[string][]string, error) {
				attempts = append(attempts, fmt.Sprintf("%d %s %s %d", a.Number, a.LastEventID, string(a.Reason), a.Status))
				switch len(attempts) {
				case 3:
					return nil, errors.New("no token")
				case 4:
					return http.Header{"X Y": {"z"}}, nil
				case 5:
					return http.Header{"Authorization": {"Bearer b\nX: y"}}, nil
				case 6:
					return nil, nil
				}
				return http.Header{"authorization": {fmt.Sprint("Bearer ", len(attempts))}}, nil
			},
		})
		x := l.next()
		l.wantHeader(x, "Authorization", "Bearer 1")
		l.wantHeader(x, "Last-Event-Id", "7")
		x.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").end()
		x = l.next()
		l.wantHeader(x, "Authorization", "Bearer 2")
		x.write(stream, "id: 8\n\n").end()
		x = l.next()
		l.wantHeader(x, "Authorization")
		l.wantHeader(x, "Accept", "text/event-stream")
		if want := []string{"1 7  0", "2 7 status 401", "1 8 ended 200", "2 8 headers 0", "3 8 headers 0", "4 8 headers 0"}; !slices.Equal(attempts, want) {
			l.Errorf("attempts %q, want %q", attempts, want)
		}
		l.want("error status, retry in 1s", "open 200 http://a.example/events attempt 2 resumed true", "error ended, retry in 2s",
			"error headers, retry in 4s", "error headers, retry in 8s", "error headers, retry in 16s")
	})
}

func TestBodyFunc(t *testing.T) {
	inLab(t, func(l *lab) {
		calls := 0
		l.open(eventsource.Options{
			Method: "POST",
			Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"text/event-stream, */*"}},
			BodyFunc: func(_ context.Context, a eventsource.Attempt) ([]byte, error) {
				if calls++; calls == 2 {
					return nil, errors.New("no body")
				}
				return fmt.Append(nil, "call ", calls, " id ", a.LastEventID), nil
			},
		})
		x := l.next()
		if x.Method != "POST" || x.content != "call 1 id " {
			l.Errorf("%s with %q", x.Method, x.content)
		}
		l.wantHeader(x, "Content-Type", "application/json")
		l.wantHeader(x, "Accept", "text/event-stream, */*")
		x.write("HTTP/1.1 303 See\r\nLocation: /stream\r\nContent-Length: 0\r\n\r\n").end()
		if x = l.next(); x.Method != "GET" || x.content != "" {
			l.Errorf("redirected to %s with %q", x.Method, x.content)
		}
		x.write(stream, "id: 1\n\n").end()
		l.want("open 200 http://a.example/stream attempt 1 resumed false", ended)
		time.Sleep(3 * time.Second)
		l.want("error body, retry in 3s")
		if x = l.next(); x.Method != "POST" || x.URL.Path != "/events" || x.content != "call 3 id 1" {
			l.Errorf("again %s %s with %q", x.Method, x.URL, x.content)
		}
	})
}

// Without BodyFunc, a request other than GET is sent only once, whatever happens to it.
func TestOnce(t *testing.T) {
	posted := eventsource.Options{Method: "POST", Body: []byte("ask")}
	for name, tt := range map[string]struct {
		options eventsource.Options
		respond func(x *exchange)
		want    []string
	}{
		"the stream ends": {posted, func(x *exchange) { x.write(stream, "retry: 1\nid: 1\ndata: a\n\n").end() }, []string{
			opened, `message "a" 1`, "error ended", "end: eventsource: the server ended the stream", "over",
		}},
		"without a body": {eventsource.Options{Method: "DELETE"}, func(x *exchange) { x.write(stream).end() }, []string{
			opened, "error ended", "end: eventsource: the server ended the stream", "over",
		}},
		"a status that Retry lists": {
			eventsource.Options{Method: "POST", Retry: &eventsource.Retry{}},
			func(x *exchange) { x.write("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").end() },
			[]string{"error status", "end: eventsource: the response's status is not 200 but 503", "over"},
		},
		"no response": {posted, (*exchange).end, []string{"error network", "end: eventsource: the network failed: EOF", "over"}},
		"204":         {posted, func(x *exchange) { x.write("HTTP/1.1 204 No Content\r\n\r\n").end() }, []string{"error status", "over"}},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				l.open(tt.options)
				x := l.next()
				if x.Method != tt.options.Method || x.content != string(tt.options.Body) {
					l.Errorf("%s with %q", x.Method, x.content)
				}
				tt.respond(x)
				time.Sleep(time.Hour)
				l.want(tt.want...)
				if err := l.read(); !errors.Is(err, eventsource.ErrSent) {
					l.Errorf("read again: %v", err)
				}
			})
		})
	}
}

func TestErrorsIsReasonEnded(t *testing.T) {
	inLab(t, func(l *lab) {
		l.openURL(there, eventsource.Options{Method: "POST", Body: []byte("ask")})
		go func() { l.next().write(stream).end() }()
		if err := l.read(); !errors.Is(err, eventsource.ReasonEnded) || errors.Is(err, eventsource.ReasonNetwork) {
			l.Errorf("got %v", err)
		}
	})
}

// After a POST, the source resumes by GET at the URL to which the POST was redirected, if it has a last event ID.
func TestResumeByGET(t *testing.T) {
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{
			Method: "POST", Body: []byte("ask"), ResumeByGET: true,
			Header: http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer a"}},
		})
		x := l.next()
		l.wantHeader(x, "Content-Type", "application/json")
		x.write("HTTP/1.1 303 See\r\nLocation: /answers/1\r\nContent-Length: 0\r\n\r\n").end()
		l.next().write(stream, "id: 1\ndata: a\n\n").end()
		x = l.nextAfter(3 * time.Second)
		if x.Method != "GET" || x.RequestURI != "/answers/1" || x.content != "" {
			l.Errorf("resumed by %s %s with %q", x.Method, x.RequestURI, x.content)
		}
		l.wantHeader(x, "Last-Event-Id", "1")
		l.wantHeader(x, "Content-Type")
		l.wantHeader(x, "Authorization", "Bearer a")
		x.write(stream, "id\ndata: b\n\n").end()
		time.Sleep(time.Hour)
		l.want("open 200 http://a.example/answers/1 attempt 1 resumed false", `message "a" 1`, ended,
			"open 200 http://a.example/answers/1 attempt 1 resumed true", `message "b" `,
			"error ended", "end: eventsource: the server ended the stream", "over")
		if err := l.read(); !errors.Is(err, eventsource.ErrSent) {
			l.Errorf("read again: %v", err)
		}
	})
	inLab(t, func(l *lab) {
		l.openURL(there, eventsource.Options{Method: "POST", ResumeByGET: true})
		go func() {
			// Without Connection: close, the client may send the redirected POST on a connection that is about to end, and must not
			// repeat it.
			l.next().write("HTTP/1.1 307 Go\r\nLocation: /answers/1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").end()
			l.next().write(stream, "id: 1\ndata: a\n\n")
		}()
		for range l.source.Events(l.reading) {
			break
		}
		go l.read()
		if x := l.next(); x.Method != "GET" || x.RequestURI != "/answers/1" {
			l.Errorf("another loop resumed by %s %s", x.Method, x.RequestURI)
		}
	})
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{Method: "POST", ResumeByGET: true, LastEventID: "7"})
		if x := l.next(); x.Method != "GET" || x.RequestURI != "/events" {
			l.Errorf("from an id: %s %s", x.Method, x.RequestURI)
		}
	})
	inLab(t, func(l *lab) {
		body := func(context.Context, eventsource.Attempt) ([]byte, error) { return []byte("ask"), nil }
		l.open(eventsource.Options{Method: "POST", BodyFunc: body, ResumeByGET: true})
		l.next().write("HTTP/1.1 303 See\r\nLocation: /answers/1\r\nContent-Length: 0\r\n\r\n").end()
		l.next().write(stream).end()
		if x := l.next(); x.Method != "POST" || x.RequestURI != "/events" || x.content != "ask" {
			l.Errorf("without an id: %s %s with %q", x.Method, x.RequestURI, x.content)
		}
	})
}

// FlushAtEnd delivers an unfinished event at the end of the stream, wherever it was cut.
func TestFlushAtEnd(t *testing.T) {
	for _, tt := range []struct{ stream, want string }{
		{"data: a", `message "a" `},
		{"data: a\n", `message "a" `},
		{"data: a\r", `message "a" `},
		{"data: a\r\n", `message "a" `},
		{"id: 1\nevent: tick\ndata: a\ndata", `tick "a\n" 1`},
		{"data: a\n\n", `message "a" `},
		{"data: a\r\r", `message "a" `},
		{": a", ""},
		{"event: a\n", ""},
	} {
		inLab(t, func(l *lab) {
			l.open(eventsource.Options{FlushAtEnd: true})
			l.next().write(stream, tt.stream).end()
			want := []string{opened, tt.want, ended}
			l.want(slices.DeleteFunc(want, func(s string) bool { return s == "" })...)
			l.next().write(stream, "data: b\n\n")
			if got := l.reports(); len(got) != 2 || !strings.HasPrefix(got[1], `message "b" `) {
				l.Errorf("after %q the next connection reported %q", tt.stream, got)
			}
		})
	}
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{FlushAtEnd: true})
		l.next().write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99\r\n\r\n", "data: cut").end()
		l.want(opened, "error network, retry in 3s")
	})
}

func TestAccept(t *testing.T) {
	accept := eventsource.Accept{Statuses: []int{201}, ContentTypes: []string{"Text/Plain", ""}}
	for _, tt := range []struct {
		head, want string
	}{
		{"201 Created\r\nContent-Type: text/event-stream", "open 201 http://a.example/events attempt 1 resumed false"},
		{"200 OK\r\nContent-Type: text/plain; charset=utf-8", opened},
		{"200 OK", opened},
		{"200 OK\r\nContent-Type: text/event-stream", opened},
		{"202 Accepted\r\nContent-Type: text/event-stream", "error status"},
		{"200 OK\r\nContent-Type: text/html", "error content-type"},
	} {
		inLab(t, func(l *lab) {
			l.open(eventsource.Options{Accept: accept})
			x := l.next().write("HTTP/1.1 " + tt.head + "\r\n\r\n")
			synctest.Wait()
			x.end()
			if got := l.reports(); len(got) == 0 || got[0] != tt.want {
				l.Errorf("%s: reported %q, want %q", tt.head, got, tt.want)
			}
		})
	}
}

func TestLastEventIDParam(t *testing.T) {
	inLab(t, func(l *lab) {
		l.openURL(there+"?last=x&a=%7e&&b#c", eventsource.Options{LastEventIDParam: "last", LastEventID: "é&1"})
		go l.read()
		x := l.next()
		l.wantHeader(x, "Last-Event-Id")
		if x.RequestURI != "/events?a=%7e&b&last=%C3%A9%261" {
			l.Errorf("requested %s", x.RequestURI)
		}
		x.write(stream, "id\n\n").end()
		if x = l.next(); x.RequestURI != "/events?a=%7e&b" {
			l.Errorf("requested %s", x.RequestURI)
		}
	})
	inLab(t, func(l *lab) {
		l.open(eventsource.Options{LastEventIDParam: "last"})
		if x := l.next(); x.RequestURI != "/events" {
			l.Errorf("requested %s", x.RequestURI)
		}
	})
}
