//go:build js && wasm

package eventsource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hack-pad/safejs"

	"github.com/eventsource-wasm/eventsource-wasm/wasm/eventsource"
)

// fakeFetch replaces fetch. It passes the request to the test and responds with a stream that the test writes to. An abort
// breaks the stream, like that of fetch.
const fakeFetch = `return (received) => (url, init) => new Promise((resolve, reject) => {
	init.signal.addEventListener('abort', () => reject(init.signal.reason));
	const respond = (status, headers) => {
		let stream;
		const body = new ReadableStream({ start(controller) { stream = controller; } });
		init.signal.addEventListener('abort', () => stream.error(init.signal.reason));
		resolve(new Response(status === 204 ? null : body, { status, headers }));
		return {
			write: (text) => stream.enqueue(new TextEncoder().encode(text)),
			end: () => stream.close(),
			break: () => stream.error(new TypeError('network error')),
		};
	};
	const { method, credentials, cache, body } = init;
	const sent = JSON.stringify({ url, method, credentials, cache, headers: [...init.headers].sort(), body: body && new TextDecoder().decode(body) });
	const aborted = new Promise((resolve) => init.signal.addEventListener('abort', resolve));
	received({ sent, respond, aborted }); // other goroutines run during this call
})`

// An exchange is one request.
type exchange struct {
	safejs.Value
	stream  safejs.Value
	aborted chan struct{}
}

type lab struct {
	*testing.T
	fetch    safejs.Value
	requests chan *exchange
	reports  chan string
}

func newLab(t *testing.T) *lab {
	l := &lab{T: t, requests: make(chan *exchange, 16), reports: make(chan string, 64)}
	function := must(must(safejs.Global().Get("Function")).New(fakeFetch))
	received := must(safejs.FuncOf(func(_ safejs.Value, args []safejs.Value) any {
		x := &exchange{Value: args[0], aborted: make(chan struct{})}
		closed := must(safejs.FuncOf(func(safejs.Value, []safejs.Value) any { close(x.aborted); return nil }))
		must(must(x.Get("aborted")).Call("then", closed))
		l.requests <- x
		return nil
	}))
	t.Cleanup(received.Release)
	l.fetch = must(must(function.Invoke()).Invoke(received))
	return l
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// open opens a source and reads it to its end. Everything that it reports is sent to reports, and "over" at the end.
func (l *lab) open(url string, options eventsource.Options) context.CancelFunc {
	l.Helper()
	if options.Transport.Fetch.IsUndefined() {
		options.Transport.Fetch = l.fetch
	}
	options.OnOpen = func(r eventsource.Response) { l.note("open %d %s %v", r.Status, r.URL, r.Header["Content-Type"]) }
	options.OnError = func(e *eventsource.Error) { l.note("error %s %t %s", string(e.Reason), e.WillRetry, e.Body) }
	ctx, cancel := context.WithCancel(context.Background())
	l.Cleanup(cancel)
	source, err := eventsource.New(url, options)
	if err != nil {
		l.Fatal(err)
	}
	go func() {
		for event, err := range source.Events(ctx) {
			if err != nil {
				l.note("end: %v", err)
			} else {
				l.note("%s %q %s %s", event.Type, event.Data, event.LastEventID, event.Origin)
			}
		}
		l.note("over")
	}()
	return cancel
}

func (l *lab) note(format string, args ...any) { l.reports <- fmt.Sprintf(format, args...) }

func (l *lab) want(want ...string) {
	l.Helper()
	var got []string
	for range want {
		got = append(got, receive(l, l.reports))
	}
	if !slices.Equal(got, want) {
		l.Fatalf("reported\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// patience ends tests that hang. It is generous because a busy machine can be a hundred times slower.
const patience = 5 * time.Minute

func receive[T any](l *lab, from chan T) T {
	l.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		l.Fatalf("nothing in %v", patience)
		panic("unreachable")
	}
}

func (l *lab) next(want string) *exchange {
	l.Helper()
	x := receive(l, l.requests)
	if got := must(must(x.Get("sent")).String()); got != want {
		l.Errorf("sent %s\nwant %s", got, want)
	}
	return x
}

func (x *exchange) respond(status int, contentType string) *exchange {
	x.stream = must(x.Call("respond", status, map[string]any{"Content-Type": contentType}))
	return x
}

func (x *exchange) write(text string) *exchange {
	must(x.stream.Call("write", text))
	return x
}

func (x *exchange) end() { must(x.stream.Call("end")) }

func (l *lab) wantAborted(x *exchange) {
	l.Helper()
	receive(l, x.aborted)
}

const (
	url   = "https://a.example/events"
	plain = `{"url":"https://a.example/events","credentials":"same-origin","cache":"no-store","headers":[["Accept","text/event-stream"]]}`
)

func TestStream(t *testing.T) {
	l := newLab(t)
	cancel := l.open(url+"#f", eventsource.Options{
		Header: map[string][]string{"authorization": {"Bearer é"}},
		Retry:  &eventsource.Retry{Initial: time.Millisecond},
	})
	x := l.next(`{"url":"https://a.example/events","credentials":"same-origin","cache":"no-store","headers":[["Accept","text/event-stream"],["Authorization","Bearer Ã©"]]}`)
	x.respond(200, "text/event-stream").write("data: a\n\nevent: tick\nid: ✓\ndata: 😀").write("\n\nid: lost\n").end()
	l.want("open 200 https://a.example/events [text/event-stream]", `message "a"  https://a.example`, `tick "😀" ✓ https://a.example`, "error ended true ")
	x = l.next(`{"url":"https://a.example/events","credentials":"same-origin","cache":"no-store","headers":[["Accept","text/event-stream"],["Authorization","Bearer Ã©"],["Last-Event-Id","` + "â\u009c\u0093" + `"]]}`)
	x.respond(200, "text/event-stream").write("data: " + strings.Repeat("x", 100_000) + "\n\n")
	l.want("open 200 https://a.example/events [text/event-stream]", `message "`+strings.Repeat("x", 100_000)+`" ✓ https://a.example`)
	must(x.stream.Call("break"))
	l.want("error network true ")
	x = l.next(`{"url":"https://a.example/events","credentials":"same-origin","cache":"no-store","headers":[["Accept","text/event-stream"],["Authorization","Bearer Ã©"],["Last-Event-Id","` + "â\u009c\u0093" + `"]]}`)
	x.respond(200, "text/event-stream")
	l.want("open 200 https://a.example/events [text/event-stream]")
	cancel()
	l.want("end: eventsource: the context is done: context canceled", "over")
	l.wantAborted(x)
}

// A Client may ignore the signal. Its stream is canceled anyway.
func TestCancelEndsAStreamThatIgnoresTheSignal(t *testing.T) {
	l := newLab(t)
	const endless = `return (canceled) => async () => new Response(new ReadableStream({ cancel: canceled }), {
		headers: { 'Content-Type': 'text/event-stream' },
	})`
	ended := make(chan struct{})
	canceled := must(safejs.FuncOf(func(safejs.Value, []safejs.Value) any { close(ended); return nil }))
	t.Cleanup(canceled.Release)
	function := must(must(safejs.Global().Get("Function")).New(endless))
	cancel := l.open(url, eventsource.Options{Transport: eventsource.Transport{Fetch: must(must(function.Invoke()).Invoke(canceled))}})
	l.want("open 200 https://a.example/events [text/event-stream]")
	cancel()
	receive(l, ended)
	l.want("end: eventsource: the context is done: context canceled", "over")
}

func TestCancelBeforeTheResponse(t *testing.T) {
	l := newLab(t)
	cancel := l.open(url, eventsource.Options{})
	x := l.next(plain)
	cancel()
	l.want("end: eventsource: the context is done: context canceled", "over")
	l.wantAborted(x)
}

func TestResponses(t *testing.T) {
	l := newLab(t)
	l.open(url, eventsource.Options{})
	l.next(plain).respond(204, "text/event-stream")
	l.want("error status false ", "over")
	l.open(url, eventsource.Options{})
	l.next(plain).respond(200, "text/html").write("<p>no").end()
	l.want("error content-type false <p>no", "end: eventsource: the response's Content-Type is not text/event-stream", "over")
	l.open(url, eventsource.Options{})
	x := l.next(plain).respond(403, "text/plain").write(strings.Repeat("x", 2000))
	l.want("error status false "+strings.Repeat("x", 1024), "end: eventsource: the response's status is not 200 but 403", "over")
	l.wantAborted(x)
}

func TestOptions(t *testing.T) {
	l := newLab(t)
	l.open(url+"?a=b", eventsource.Options{
		Method: "POST",
		BodyFunc: func(_ context.Context, a eventsource.Attempt) ([]byte, error) {
			return fmt.Append(nil, "attempt ", a.Number), nil
		},
		LastEventID:      "7",
		LastEventIDParam: "last",
		WithCredentials:  true,
		IdleTimeout:      20 * time.Millisecond,
		Retry:            &eventsource.Retry{Initial: time.Millisecond, Attempts: 2},
	})
	const posted = `{"url":"https://a.example/events?a=b&last=7","method":"POST","credentials":"include","cache":"no-store","headers":[["Accept","text/event-stream"]],"body":"attempt %d"}`
	x := l.next(fmt.Sprintf(posted, 1))
	l.want("error idle true ")
	l.wantAborted(x)
	x = l.next(fmt.Sprintf(posted, 2))
	l.want("error idle false ", "end: eventsource: nothing arrived for IdleTimeout", "over")
	l.wantAborted(x)
}

func TestRetryAfter(t *testing.T) {
	l := newLab(t)
	for name, tt := range map[string]struct {
		value       string
		least, most time.Duration
	}{
		"seconds": {"7", 7 * time.Second, 7 * time.Second},
		"date":    {time.Now().Add(time.Hour).UTC().Format(time.RFC1123), time.Hour - time.Minute, time.Hour},
		"neither": {"soon", time.Millisecond, time.Millisecond},
	} {
		var got time.Duration
		ctx, cancel := context.WithCancel(context.Background())
		source := must(eventsource.New(url, eventsource.Options{
			Transport: eventsource.Transport{Fetch: l.fetch},
			Retry:     &eventsource.Retry{Initial: time.Millisecond, Jitter: -1},
			OnError:   func(e *eventsource.Error) { got = e.RetryIn; cancel() },
		}))
		go func() {
			x := l.next(plain)
			must(must(x.Call("respond", 503, map[string]any{"Retry-After": tt.value})).Call("end"))
		}()
		var err error
		for _, err = range source.Events(ctx) {
		}
		if !errors.Is(err, context.Canceled) || got < tt.least || got > tt.most {
			t.Errorf("%s: %v, retry in %s", name, err, got)
		}
	}
}

// A rejection with any value is a network error, and so is a Client that throws or does not return a promise.
func TestRejections(t *testing.T) {
	for script, want := range map[string]string{
		"return () => Promise.reject(new TypeError('no network'))": "the network failed: JavaScript error: no network",
		"return () => Promise.reject('text')":                      "the network failed: text",
		"return () => Promise.reject()":                            "the network failed: <undefined>",
		"return () => { throw new Error('at once') }":              "the network failed: JavaScript error: at once",
		"return () => 1":                   "the network failed: ",
		"return () => Promise.resolve({})": "the network failed: ",
	} {
		l := newLab(t)
		l.open(url, eventsource.Options{
			Transport: eventsource.Transport{Fetch: must(must(must(safejs.Global().Get("Function")).New(script)).Invoke())},
			Retry:     &eventsource.Retry{Attempts: 1},
		})
		l.want("error network false ")
		if got := receive(l, l.reports); !strings.HasPrefix(got, "end: eventsource: "+want) {
			t.Errorf("%s: %s", script, got)
		}
	}
}

func TestURLs(t *testing.T) {
	for _, bad := range []string{"http://a.example:x/", "http://user@a.example/", "http://user:secret@a.example/"} {
		if _, err := eventsource.New(bad, eventsource.Options{}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	l := newLab(t)
	l.open("ftp://a.example/", eventsource.Options{Transport: eventsource.Transport{Fetch: must(must(must(safejs.Global().Get("Function")).New("return fetch")).Invoke())}})
	l.want("error url false ")
}

// This test uses the real fetch. A data: URL needs no server.
func TestFetch(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	source := must(eventsource.New("data:text/event-stream,data:a%0A%0A", eventsource.Options{}))
	for event, err := range source.Events(ctx) {
		if err != nil || event.Data != "a" || event.Origin != "null" {
			l.Errorf("%v, %+v", err, event)
		}
		break
	}
}

// A source that is canceled leaves no goroutine, whatever it was waiting for.
func TestCancelLeavesNoGoroutines(t *testing.T) {
	l := newLab(t)
	before := runtime.NumGoroutine()
	for n := range 20 {
		cancel := l.open(url, eventsource.Options{})
		x := l.next(plain)
		if n%2 == 0 {
			x.respond(200, "text/event-stream").write("data: a\n\n")
			l.want("open 200 https://a.example/events [text/event-stream]", `message "a"  https://a.example`)
		}
		cancel()
		l.want("end: eventsource: the context is done: context canceled", "over")
		l.wantAborted(x)
	}
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
