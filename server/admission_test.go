package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// heapBytes returns the size of the live heap.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC() // the second run frees objects with finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// sendRaw connects to the server at the URL, sends the text, and returns the connection.
func sendRaw(t testing.TB, base, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// A request can be refused when only its header was sent. Its connection then closes, so a client cannot keep it open.
func TestRefusedBeforeBody(t *testing.T) {
	const token, urlencoded = "Authorization: Bearer secret\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"
	const announced, chunked, expecting = "Content-Length: 200000\r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n"
	tests := map[string]struct {
		line, header string
		status       int
	}{
		"no credentials":            {"POST /", urlencoded + announced, 401},
		"no credentials, in chunks": {"POST /", urlencoded + chunked, 401},
		"no credentials, expecting": {"POST /", urlencoded + announced + expecting, 401},
		"of a gigabyte":             {"POST /", urlencoded + "Content-Length: 1000000000\r\n", 401},
		"wrong credentials":         {"POST /", "Authorization: Bearer x\r\n" + urlencoded + announced + expecting, 401},
		"another page's":            {"POST /", "Origin: https://evil.example\r\n" + token + urlencoded + announced + expecting, 403},
		"another host":              {"POST /", "Host: evil.example\r\n" + token + urlencoded + announced + expecting, 421},
		"another content type":      {"POST /", token + "Content-Type: text/plain\r\n" + announced + expecting, 415},
		"a malformed key":           {"POST /", token + urlencoded + "Idempotency-Key: \r\n" + announced + expecting, 400},
		"too large":                 {"POST /", token + urlencoded + "Content-Length: 1048577\r\n" + expecting, 413},
		"publishing is off":         {"POST /off", urlencoded + announced + expecting, 403},
		"a ticket":                  {"POST /ticket", announced, 401},
		"a granted ticket":          {"POST /ticket", token + announced + expecting, 201},
		"a large GET":               {"GET /", token + announced, 400},
		"another method":            {"PUT /", announced, 405},
		"a preflight":               {"OPTIONS /", announced, 204},
	}
	h := &server.Handler{
		Broker:    &server.Broker{},
		Authorize: server.BearerToken("secret"),
		Tickets:   &server.Tickets{},
		Hosts:     []string{"test.example"},
	}
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.Handle("/off", &server.Handler{Broker: h.Broker})
	mux.HandleFunc("/ticket", h.ServeTicket)
	base := start(t, mux)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			host := "Host: test.example\r\n"
			if strings.HasPrefix(test.header, "Host:") {
				host = ""
			}
			_, answers := sendRaw(t, base, test.line+" HTTP/1.1\r\n"+host+test.header+"\r\n")
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			if answer.StatusCode != test.status || err != nil || !answer.Close {
				t.Errorf("status %d, headers %v, body %s, %v", answer.StatusCode, answer.Header, body, err)
			}
			if rest, err := io.ReadAll(answers); len(rest) > 0 || err != nil {
				t.Errorf("then %q, %v, want the end", rest, err)
			}
		})
	}
	if h.Broker.Stats().BodyBytes != 0 {
		t.Errorf("stats %+v", h.Broker.Stats())
	}
}

// Only clients that may publish get 100 Continue, and they keep their connections.
func TestContinueOnlyIfPermitted(t *testing.T) {
	base := start(t, &server.Handler{Broker: &server.Broker{}, Authorize: server.BearerToken("secret")})
	const head = "POST / HTTP/1.1\r\nHost: test.example\r\nAuthorization: Bearer secret\r\n" +
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n"
	conn, answers := sendRaw(t, base, head+"Expect: 100-continue\r\n\r\n")
	want := func(status int) {
		t.Helper()
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); answer.StatusCode != status || err != nil {
			t.Fatalf("status %d, want %d, %v", answer.StatusCode, status, err)
		}
	}
	want(100)
	io.WriteString(conn, "topic=a")
	want(201)
	io.WriteString(conn, head+"\r\ntopic=a")
	want(201)
	io.WriteString(conn, head+"\r\ntopic=*")
	want(400)
	io.WriteString(conn, head+"\r\ntopic=a")
	want(201)
}

// Over HTTP/2, too, a refusal comes before the body. The connection stays open for other requests.
func TestRefusedBeforeBodyOverHTTP2(t *testing.T) {
	broker := &server.Broker{}
	s := httptest.NewUnstartedServer(&server.Handler{Broker: broker, Authorize: server.BearerToken("secret"), BodyTimeout: 50 * time.Millisecond})
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	var dialed atomic.Int64
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
	transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialed.Add(1)
		config := transport.TLSClientConfig.Clone()
		config.NextProtos = []string{"h2"}
		return (&tls.Dialer{Config: config}).DialContext(ctx, network, addr)
	}
	t.Cleanup(transport.CloseIdleConnections)
	for i, test := range []struct {
		token  string
		status int
	}{{"", 401}, {"x", 401}, {"secret", 408}, {"", 401}} {
		body, end := io.Pipe()
		defer end.Close()
		r, _ := http.NewRequest(http.MethodPost, s.URL, body)
		r.Header = http.Header{"Content-Type": {form}, "Authorization": {"Bearer " + test.token}}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != test.status || answer.ProtoMajor != 2 {
			t.Errorf("request %d: status %d over HTTP/%d", i, answer.StatusCode, answer.ProtoMajor)
		}
	}
	if dialed.Load() != 1 || broker.Stats().BodyBytes != 0 {
		t.Errorf("%d connections, stats %+v", dialed.Load(), broker.Stats())
	}
}

// A body that stalls is refused after BodyTimeout, at whichever byte it stalls.
func TestSlowBody(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	tests := map[string]struct {
		timeout, server time.Duration
		after           time.Duration
		sent            string
	}{
		"default":              {0, 0, 30 * time.Second, "Content-Length: 20\r\n\r\n"},
		"option":               {time.Second, 0, time.Second, "Content-Length: 20\r\n\r\ntopic=a&data=x"},
		"in chunks":            {time.Second, 0, time.Second, "Transfer-Encoding: chunked\r\n\r\n7\r\ntopic=a\r\n"},
		"within a chunk":       {time.Second, 0, time.Second, "Transfer-Encoding: chunked\r\n\r\n7\r\ntop"},
		"the server's timeout": {-1, 5 * time.Second, 5 * time.Second, "Content-Length: 20\r\n\r\n"},
		"longer than that":     {10 * time.Second, 5 * time.Second, 10 * time.Second, "Content-Length: 20\r\n\r\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := &server.Broker{}
				h := &server.Handler{Broker: broker, OpenPublish: true, BodyTimeout: test.timeout}
				network, _ := serveBubble(t, h, &http.Server{ReadTimeout: test.server})
				conn, _ := network.dial(t.Context(), "", "")
				defer conn.Close()
				begun := time.Now()
				io.WriteString(conn, head+test.sent)
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(begun); answer.StatusCode != 408 || waited != test.after || !answer.Close {
					t.Errorf("status %d after %v, headers %v", answer.StatusCode, waited, answer.Header)
				}
				io.Copy(io.Discard, answer.Body)
				synctest.Wait()
				if stats := broker.Stats(); stats.BodyBytes != 0 || stats.Published != 0 {
					t.Errorf("stats %+v", stats)
				}
			})
		})
	}
}

// BodyTimeout limits only the body, not the handling of the request.
func TestBodyTimeoutEndsWithBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &server.Handler{Broker: &server.Broker{}, BodyTimeout: time.Second}
		h.Authorize = func(r *http.Request, access server.Access) (server.Grant, error) {
			if len(access.Topics) > 0 {
				time.Sleep(time.Minute)
			}
			return server.Grant{}, context.Cause(r.Context())
		}
		network, _ := serveBubble(t, h, &http.Server{})
		conn, _ := network.dial(t.Context(), "", "")
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for range 2 {
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\ntopic=a")
			answer, err := http.ReadResponse(answers, nil)
			if err != nil || answer.StatusCode != http.StatusCreated {
				t.Fatalf("%v, %v", answer, err)
			}
			io.Copy(io.Discard, answer.Body)
		}
	})
}

// A stalled body blocks after its text.
type stalled struct {
	text *strings.Reader
	read chan struct{} // closed when it waits
	wait chan struct{}
	once sync.Once
}

func stall(text string) *stalled {
	return &stalled{text: strings.NewReader(text), read: make(chan struct{}), wait: make(chan struct{})}
}

func (s *stalled) Read(b []byte) (int, error) {
	if n, err := s.text.Read(b); err == nil {
		return n, nil
	}
	s.once.Do(func() { close(s.read) })
	<-s.wait
	return 0, io.EOF
}

func TestBodiesInFlight(t *testing.T) {
	const least = 16 << 10
	const large = "topic=a&data="
	synctest.Test(t, func(t *testing.T) {
		broker := &server.Broker{MaxBodyBytesInFlight: 5 * least, MaxBodyBytesPerIP: 3 * least}
		h := &server.Handler{Broker: broker, OpenPublish: true}
		send := func(remote string, body io.Reader) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodPost, "/", body)
			r.RemoteAddr, r.Header = remote, http.Header{"Content-Type": {form}}
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			return answer
		}
		var clients sync.WaitGroup
		hold := func(remote, text string) *stalled {
			s := stall(text)
			clients.Go(func() {
				if answer := send(remote, s); answer.Code != http.StatusCreated {
					t.Errorf("%s: status %d, %s", remote, answer.Code, answer.Body)
				}
			})
			synctest.Wait()
			return s
		}
		wantRefused := func(remote string, status int, body io.Reader) {
			t.Helper()
			answer := send(remote, body)
			if answer.Code != status || answer.Header().Get("Retry-After") != "5" || !strings.Contains(answer.Body.String(), "too many request bodies") {
				t.Errorf("%s: status %d, headers %v, %s", remote, answer.Code, answer.Header(), answer.Body)
			}
		}
		const ada, bob = "192.0.2.1:1", "192.0.2.2:1"
		held := []*stalled{hold(ada, "topic=a"), hold(ada, large+strings.Repeat("x", least-20))} // the second body counts the minimum
		if got := broker.Stats().BodyBytes; got != 2*least {
			t.Errorf("%d bytes in flight", got)
		}
		wantRefused(ada, 429, strings.NewReader(large+strings.Repeat("x", 2*least))) // refused when it has grown
		held = append(held, hold(ada, "topic=a"))
		wantRefused(ada, 429, failingReader{}) // refused without being read
		held = append(held, hold(bob, large+strings.Repeat("x", least+1)))
		wantRefused("192.0.2.3:1", 503, failingReader{})
		wantRefused(bob, 503, failingReader{})
		if stats := broker.Stats(); stats.BodyBytes != 5*least || stats.Refused != 4 {
			t.Errorf("stats %+v", stats)
		}
		for _, s := range held {
			close(s.wait)
		}
		clients.Wait()
		if stats := broker.Stats(); stats.BodyBytes != 0 || stats.Published != 4 {
			t.Errorf("stats %+v", stats)
		}
		// A body that exceeds the limit by itself gets no Retry-After.
		if answer := send(ada, strings.NewReader(large+strings.Repeat("x", 4*least))); answer.Code != http.StatusRequestEntityTooLarge || answer.Header().Get("Retry-After") != "" {
			t.Errorf("status %d, headers %v", answer.Code, answer.Header())
		}
	})
}

// Bodies of publishers that stall one byte before their end take no more memory than the limit.
func TestBodyMemory(t *testing.T) {
	const clients, limit, size = 150, 8 << 20, 1<<20 - 1
	broker := &server.Broker{MaxBodyBytesInFlight: limit, MaxBodyBytesPerIP: limit}
	base := start(t, &server.Handler{Broker: broker, Authorize: server.BearerToken("secret")})
	before := heapBytes()
	text := []byte("topic=a&data=" + strings.Repeat("x", size-20))
	var refused atomic.Int64
	var sending sync.WaitGroup
	for range clients {
		conn, answers := sendRaw(t, base, fmt.Sprintf("POST / HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer secret\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", form, size))
		sending.Go(func() {
			if _, err := conn.Write(text); err != nil {
				return // refused while it was sending
			}
			conn.SetReadDeadline(time.Now().Add(time.Minute))
			if answer, err := http.ReadResponse(answers, nil); err == nil && answer.StatusCode != http.StatusCreated {
				refused.Add(1)
			}
		})
	}
	peak := int64(0)
	eventually(t, "most are refused", func() bool {
		peak = max(peak, broker.Stats().BodyBytes)
		return broker.Stats().Refused >= clients-limit/size-8
	})
	grown := heapBytes() - before
	t.Logf("%d bodies of %d bytes: %d refused, at most %d bytes counted, %.1f MB of heap at the end", clients, size, broker.Stats().Refused, peak, float64(grown)/1e6)
	if peak > limit || grown > 3*limit {
		t.Errorf("%d bytes counted, %d of heap, for a limit of %d", peak, grown, limit)
	}
}

// A middleware that decompresses bodies does not change their Content-Length.
func TestBodyLongerThanContentLength(t *testing.T) {
	for _, length := range []int64{0, 1, 6, 7, 4095, 4096, 4097, 1 << 40} {
		for _, size := range []int{7, 4096, 10_000} {
			for _, limit := range []int64{-1, 9_999, 20_000, math.MaxInt64} {
				text := "topic=a&data=" + strings.Repeat("x", size)
				r := httptest.NewRequest(http.MethodPost, "/", iotest.OneByteReader(strings.NewReader(text)))
				r.Header, r.ContentLength = http.Header{"Content-Type": {form}}, length
				answer := httptest.NewRecorder()
				(&server.Handler{Broker: &server.Broker{}, OpenPublish: true, MaxBodyBytes: limit}).ServeHTTP(answer, r)
				tooLarge := limit >= 0 && (int64(len(text)) > limit || length > limit)
				if (answer.Code == http.StatusRequestEntityTooLarge) != tooLarge || !tooLarge && answer.Code != http.StatusCreated {
					t.Errorf("%d bytes, announced as %d, for a limit of %d: status %d", len(text), length, limit, answer.Code)
				}
			}
		}
	}
}

// Decoding stops at the first unknown field, so the rest of the body costs nothing.
func TestUnknownFieldStopsDecoding(t *testing.T) {
	var object, pairs, batch strings.Builder
	object.WriteString(`{"topic":"a"`)
	pairs.WriteString("topic=a")
	for i := range 60_000 {
		fmt.Fprintf(&object, `,"k%d":[{}]`, i)
		fmt.Fprintf(&pairs, "&k%d=v", i)
	}
	object.WriteString("}")
	for range 40_000 {
		batch.WriteString(`{"x":0}` + "\n")
	}
	deep := strings.Repeat(`[`, 500_000)
	tests := map[string]struct {
		contentType, body string
		field             string
	}{
		"JSON":             {jsonType, object.String(), "k0"},
		"form":             {form, pairs.String(), "k0"},
		"batch":            {ndjson, batch.String(), "x"},
		"nested":           {jsonType, `{"topic":"a","data":` + deep, "data"},
		"nested, of retry": {jsonType, `{"retry":` + deep, "retry"},
		"no object":        {jsonType, deep, ""},
		"a long name":      {jsonType, `{"` + strings.Repeat("n", 500_000) + `":1}`, strings.Repeat("n", 64) + "…"},
		"the same again":   {jsonType, "{" + strings.Repeat(`"data":null,`, 50_000) + `"topic":"a"}`, "data"},
		"empty pairs":      {form, strings.Repeat("&", 500_000) + "x", "x"},
		"empty lines":      {ndjson, strings.Repeat("\n", 500_000) + `{"x":0}`, "x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &server.Handler{Broker: &server.Broker{}, OpenPublish: true}
			var answer *httptest.ResponseRecorder
			allocations := testing.AllocsPerRun(1, func() { answer = post(h, test.contentType, test.body) })
			var got problem
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != 400 || got.Field != test.field {
				t.Errorf("status %d, %+v, %v", answer.Code, got, err)
			}
			if allocations > 200 {
				t.Errorf("%v allocations", allocations)
			}
		})
	}
}

func TestDistinctTopics(t *testing.T) {
	publishTo := func(t *testing.T, b *server.Broker, want error, topics ...string) {
		t.Helper()
		for _, topic := range topics {
			if _, err := b.Publish(t.Context(), topic, sse.Event{Data: "x"}); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", topic, err, want)
			}
		}
	}
	t.Run("limit", func(t *testing.T) {
		b := &server.Broker{MaxDistinctTopics: 3}
		publishTo(t, b, nil, "a", "b", "c", "a")
		publishTo(t, b, server.ErrTooManyTopics, "d", "e")
		publishTo(t, b, nil, "a", "b", "c")
		at := func(topic string) server.Publication { return server.Publication{Topic: topic} }
		if ids, err := b.PublishAll(t.Context(), at("a"), at("d")); err != server.ErrTooManyTopics || ids != nil {
			t.Errorf("a batch: %v, %v", ids, err)
		}
		h := &server.Handler{Broker: b, OpenPublish: true}
		answer := post(h, form, "topic=d")
		if answer.Code != 503 || answer.Header().Get("Retry-After") != "60" || !strings.Contains(answer.Body.String(), "too many distinct topics") {
			t.Errorf("status %d, headers %v, %s", answer.Code, answer.Header(), answer.Body)
		}
		if stats := b.Stats(); stats.Topics != 3 || stats.Published != 7 || stats.Refused != 4 {
			t.Errorf("stats %+v", stats)
		}
	})
	t.Run("a refused batch adds none", func(t *testing.T) {
		b := &server.Broker{MaxDistinctTopics: 3}
		publishTo(t, b, nil, "a", "b")
		if _, err := b.PublishAll(t.Context(), server.Publication{Topic: "c"}, server.Publication{Topic: "d"}); err != server.ErrTooManyTopics {
			t.Error(err)
		}
		publishTo(t, b, nil, "e")
	})
	t.Run("a failed publication adds none", func(t *testing.T) {
		b := &server.Broker{MaxDistinctTopics: 1}
		b.Publish(t.Context(), "a", sse.Event{Type: "gap"})
		b.Publish(t.Context(), "b", sse.Event{Type: "\n"})
		b.Publish(t.Context(), "c", sse.Event{Retry: 1})
		publishTo(t, b, nil, "d")
	})
	// Topics without kept events do not count if the limit is above the number of events in memory, as by default.
	t.Run("default", func(t *testing.T) {
		if server.DefaultMaxDistinctTopics < 2*(server.DefaultMaxEvents+1) {
			t.Error("the default allows fewer topics than events in memory")
		}
		b := &server.Broker{MaxEvents: 100, MaxDistinctTopics: 2 * 101}
		for i := range 2000 {
			publishTo(t, b, nil, fmt.Sprint("order.", i))
		}
		if got := b.Stats().Topics; got < 100 || got > 2*101 {
			t.Errorf("Topics = %d", got)
		}
	})
	t.Run("no limit", func(t *testing.T) {
		b := &server.Broker{MaxDistinctTopics: -1, MaxEvents: -1, MaxBytes: -1}
		for i := range 101 {
			batch := make([]server.Publication, 1000)
			for j := range batch {
				batch[j].Topic = fmt.Sprint(i, ".", j)
			}
			if _, err := b.PublishAll(t.Context(), batch...); err != nil {
				t.Fatal(i, err)
			}
		}
	})
	for name, broker := range map[string]*server.Broker{
		"events": {MaxDistinctTopics: 10, MaxEvents: 4},
		"bytes":  {MaxDistinctTopics: 10, MaxBytes: 4 * 25, MaxEvents: -1},
	} {
		t.Run("topics leave by "+name, func(t *testing.T) {
			for i := range 100 {
				publishTo(t, broker, nil, fmt.Sprint(i))
			}
		})
	}
	t.Run("topics leave by age", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := &server.Broker{MaxDistinctTopics: 2, MaxAge: time.Minute}
			publishTo(t, b, nil, "a", "b")
			publishTo(t, b, server.ErrTooManyTopics, "c")
			time.Sleep(time.Minute + 1)
			publishTo(t, b, nil, "a")
			publishTo(t, b, server.ErrTooManyTopics, "c")
			time.Sleep(time.Minute + 1)
			publishTo(t, b, nil, "c")
			publishTo(t, b, server.ErrTooManyTopics, "b")
			time.Sleep(2*time.Minute + 2)
			publishTo(t, b, nil, "x")
		})
	})
}

// Anonymous clients that use tickets from many addresses do not lock out other clients.
func TestTicketFloodLocksNobodyOut(t *testing.T) {
	const flood = 1500
	tickets := &server.Tickets{MaxBytes: 300 * 256}
	h := ticketed(tickets)
	byToken := h.Authorize
	h.Authorize = func(r *http.Request, access server.Access) (server.Grant, error) {
		if r.Header.Get("Authorization") == "" && server.Covers("public", access.Topics[0]) {
			return server.Grant{}, nil
		}
		return byToken(r, access)
	}
	h.Broker.Close() // a permitted stream gets 503
	use := func(remote, ticket, id string) int {
		r := httptest.NewRequest(http.MethodGet, "/?ticket="+ticket, nil)
		r.RemoteAddr, r.Header = remote, http.Header{"Last-Event-Id": {id}}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		return answer.Code
	}
	early := ticketFor(t, h, "topic=ada.a")
	if status := use("192.0.2.1:1", early, ""); status != 503 {
		t.Fatalf("status %d", status)
	}
	for i := range flood {
		var got struct{ Ticket string }
		json.Unmarshal(requestTicket(h, "topic=public").Body.Bytes(), &got)
		if status := use(fmt.Sprintf("10.1.%d.%d:1", i/256, i%256), got.Ticket, ""); status != 503 {
			t.Fatalf("ticket %d: status %d", i, status)
		}
		if i%150 == 0 {
			if status := use("192.0.2.1:1", ticketFor(t, h, "topic=ada.a"), ""); status != 503 {
				t.Errorf("after %d tickets of other clients, the client with a token gets %d", i, status)
			}
		}
	}
	// A ticket that was forgotten is invalid, and the last ticket of the flood still works.
	if status := use("192.0.2.1:1", early, "x"); status != 401 {
		t.Errorf("status of a forgotten ticket = %d, want 401", status)
	}
	if used, bytes := tickets.Used(); used != 300 || bytes != 300*256 {
		t.Errorf("%d used tickets of %d bytes", used, bytes)
	}
}

// Unused tickets take no memory.
func TestUnusedTicketsTakeNoMemory(t *testing.T) {
	h := ticketed(&server.Tickets{})
	query := strings.Repeat("topic=ada."+strings.Repeat("t", 240)+"&", 32)
	before := heapBytes()
	const n = 1000
	for range n {
		if answer := requestTicket(h, query, "Authorization", "Bearer ada"); answer.Code != http.StatusCreated {
			t.Fatalf("status %d", answer.Code)
		}
	}
	if grown := heapBytes() - before; grown > 1<<20 { // their topics are 8 MB
		t.Errorf("%d tickets take %d bytes", n, grown)
	}
	runtime.KeepAlive(h)
}
