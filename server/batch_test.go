package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

func lines(all ...string) string { return strings.Join(all, "\n") }

// ids returns the ids in a response, which must be 201.
func ids(t testing.TB, answer *httptest.ResponseRecorder) []string {
	t.Helper()
	var got struct {
		ID  string
		IDs []string
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != http.StatusCreated {
		t.Fatalf("status %d, body %s", answer.Code, answer.Body)
	}
	if got.ID != "" {
		return []string{got.ID}
	}
	return got.IDs
}

func TestPublishBatch(t *testing.T) {
	broker := &server.Broker{}
	h := &server.Handler{Broker: broker, OpenPublish: true}
	body := lines(`{"topic":"a","data":"one"}`, "", "\t \r", `{"topic":"b","type":"x","data":"two"}`+"\r", `{"topic":"a"}`, "")
	got := ids(t, post(h, ndjson+"; charset=utf-8", body))
	epoch := epochOf(got[0])
	if want := []string{epoch + "-1", epoch + "-2", epoch + "-3"}; !slices.Equal(got, want) {
		t.Fatalf("ids %v, want %v", got, want)
	}
	c := opened(t, start(t, h), "Last-Event-ID", epoch+"-0")
	for i, want := range []block{{"data": "one"}, {"event": "x", "data": "two"}, {"data": ""}} {
		if b := c.next(); b["id"] != got[i] || b["event"] != want["event"] || b["data"] != want["data"] {
			t.Errorf("got %v, want %v", b, want)
		}
	}
}

func TestBatchRefused(t *testing.T) {
	const good = `{"topic":"a","data":"x"}`
	tests := map[string]struct {
		body    string
		status  int
		field   string
		message string
	}{
		"empty":           {"", 400, "", "request body has no events"},
		"blank":           {"\n \n\r\n", 400, "", "request body has no events"},
		"malformed":       {lines(good, "", "{"), 400, "", "line 3: invalid JSON object"},
		"two in a line":   {good + good, 400, "", "line 1: invalid JSON object"},
		"an array":        {"[" + good + "]", 400, "", "line 1: invalid JSON object"},
		"wrong field":     {lines(good, `{"topic":"a","data":1}`), 400, "data", "line 2: must be a string"},
		"unknown topic":   {lines(good, good, `{"topic":"<b>"}`), 404, "topic", `line 3: unknown topic "<b>"`},
		"another's topic": {lines(good, `{"topic":"hidden"}`), 404, "topic", `line 2: unknown topic "hidden"`},
		"pattern":         {lines(good, `{"topic":"*"}`), 400, "topic", "line 2: invalid topic: cannot publish to a pattern"},
		"no topic":        {lines(good, `{"data":"x"}`), 400, "topic", "line 2: invalid topic: must not be empty"},
		"type of lines":   {lines(good, `{"topic":"a","type":"x\ny"}`), 400, "type", "line 2: event type contains CR or LF"},
		"event too large": {lines("", good, `{"topic":"a","data":"`+strings.Repeat(`\n`, 60)+`"}`), 413, "", "line 3: event is larger than the limit"},
		"too many events": {strings.Repeat(good+"\n", 11), 413, "", "batch has more than 10 events"},
		"body too large":  {strings.Repeat(" ", 501), 413, "", "request body is larger than 500 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			broker := &server.Broker{Topics: []string{"a", "hidden"}, MaxEventBytes: 300}
			h := &server.Handler{Broker: broker, Topics: []string{"a"}, OpenPublish: true, MaxBatch: 10, MaxBodyBytes: 500}
			answer := post(h, ndjson, test.body)
			var got problem
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if answer.Code != test.status || got.Field != test.field || test.message != "" && got.Error != test.message {
				t.Errorf("status %d, %+v", answer.Code, got)
			}
			if published := broker.Stats().Published; published != 0 {
				t.Errorf("%d events of a refused batch are published", published)
			}
		})
	}
}

func TestBatchLimits(t *testing.T) {
	batch := strings.Repeat(`{"topic":"a"}`+"\n", 1001)
	for limit, status := range map[int]int{0: 413, 1000: 413, 1001: 201, -1: 201} {
		h := &server.Handler{Broker: &server.Broker{}, OpenPublish: true, MaxBatch: limit}
		if answer := post(h, ndjson, batch); answer.Code != status {
			t.Errorf("limit %d: status %d, want %d", limit, answer.Code, status)
		}
	}
}

// A batch that fails at its end leaves no trace. The next event gets the first id of the batch, and bytes, entries and
// segments are unchanged.
func TestFailedBatchLeavesNoTrace(t *testing.T) {
	for _, before := range []int{0, 1, 3} {
		for _, size := range []int{1, 50_000, 70_000} { // within a segment, beyond it, more than one
			t.Run(fmt.Sprintf("%d before, of %d bytes", before, size), func(t *testing.T) {
				broker := &server.Broker{}
				for range before {
					publish(t, broker, "t", "before")
				}
				good := server.Publication{Topic: "t", Event: sse.Event{Data: strings.Repeat("x", size)}}
				bad := server.Publication{Topic: "t", Event: sse.Event{Type: "x\n"}}
				was := broker.Stats()
				_, err := broker.PublishAll(t.Context(), good, good, bad)
				about, ok := errors.AsType[*server.PublicationError](err)
				if !ok || about.Index != 2 || !errors.Is(err, sse.ErrInvalidType) || !strings.Contains(err.Error(), "(publication 3)") {
					t.Fatalf("error %v", err)
				}
				if now := broker.Stats(); now != was {
					t.Errorf("a failed batch left %+v, was %+v", now, was)
				}
				ids, err := broker.PublishAll(t.Context(), good, good)
				if err != nil || len(ids) != 2 {
					t.Fatal(ids, err)
				}
				c := opened(t, start(t, &server.Handler{Broker: broker}), "Last-Event-ID", epochOf(ids[0])+"-0")
				for range before {
					c.wantData("before")
				}
				c.wantData(good.Event.Data, good.Event.Data)
			})
		}
	}
}

func TestPublishAll(t *testing.T) {
	at := func(topic string) server.Publication { return server.Publication{Topic: topic} }
	tests := map[string]struct {
		publications []server.Publication
		want         error
		index        int
	}{
		"none":          {nil, nil, 0},
		"some":          {[]server.Publication{at("a"), at("b")}, nil, 0},
		"unknown topic": {[]server.Publication{at("a"), at("x")}, server.ErrUnknownTopic, 1},
		"own id":        {[]server.Publication{{Topic: "a", Event: sse.Event{ID: "1"}}}, server.ErrEventHasID, 0},
		"too large":     {[]server.Publication{at("a"), at("a"), {Topic: "a", Event: sse.Event{Data: strings.Repeat("\n", 1<<19)}}}, sse.ErrEventTooLarge, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ids, err := (&server.Broker{Topics: []string{"a", "b"}}).PublishAll(t.Context(), test.publications...)
			if !errors.Is(err, test.want) || err == nil && len(ids) != len(test.publications) {
				t.Fatalf("ids %v, error %v", ids, err)
			}
			if about, ok := errors.AsType[*server.PublicationError](err); ok && about.Index != test.index {
				t.Errorf("the error is about publication %d", about.Index)
			}
		})
	}
	closed := &server.Broker{}
	closed.Close()
	if _, err := closed.PublishAll(t.Context(), at("a")); err != server.ErrClosed {
		t.Errorf("closed: %v", err)
	}
}

func TestBatchWakesStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &server.Broker{}
		network, _ := serveBubble(t, &server.Handler{Broker: broker, Logger: quiet}, &http.Server{})
		c := network.get(t, "/?topic=b.*")
		c.next()
		synctest.Wait() // the stream waits for events
		begun := time.Now()
		if _, err := broker.PublishAll(t.Context(), server.Publication{Topic: "a"}, server.Publication{Topic: "b.c", Event: sse.Event{Data: "x"}}); err != nil {
			t.Fatal(err)
		}
		if c.wantData("x"); time.Since(begun) > 0 {
			t.Errorf("delivered after %v", time.Since(begun))
		}
	})
}

// The events of a batch are consecutive, even if others publish at the same time.
func TestBatchEventsAreConsecutive(t *testing.T) {
	broker := &server.Broker{}
	var publishers sync.WaitGroup
	for publisher := range 4 {
		publishers.Go(func() {
			event := server.Publication{Topic: "t", Event: sse.Event{Data: fmt.Sprint(publisher)}}
			for range 50 {
				if _, err := broker.PublishAll(t.Context(), event, event, event); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishers.Wait()
	epoch := epochOf(publish(t, broker, "t", "end"))
	c := opened(t, start(t, &server.Handler{Broker: broker}), "Last-Event-ID", epoch+"-0")
	for range 4 * 50 {
		first := c.next()["data"]
		c.wantData(first, first)
	}
}

// bySubject permits everything. The subject is whatever the client claims.
func bySubject(r *http.Request, _ server.Access) (server.Grant, error) {
	return server.Grant{Subject: r.Header.Get("Authorization")}, nil
}

func TestIdempotencyKey(t *testing.T) {
	broker := &server.Broker{}
	h := &server.Handler{Broker: broker, Authorize: bySubject}
	const batch = `{"topic":"a"}` + "\n" + `{"topic":"b"}`
	first := ids(t, post(h, form, "topic=a&data=x", "Idempotency-Key", "k"))
	both := ids(t, post(h, ndjson, batch, "Idempotency-Key", "of a batch"))
	tests := []struct {
		name, contentType, body string
		header                  []string
		status                  int
		want                    []string // nil: new ones
	}{
		{"again", form, "topic=a&data=x", []string{"Idempotency-Key", "k"}, 201, first},
		{"and again", form, "topic=a&data=x", []string{"Idempotency-Key", "k"}, 201, first},
		{"batch again", ndjson, batch, []string{"Idempotency-Key", "of a batch"}, 201, both},
		{"another body", form, "topic=a&data=y", []string{"Idempotency-Key", "k"}, 422, nil},
		{"another type of body", jsonType, `{"topic":"a","data":"x"}`, []string{"Idempotency-Key", "k"}, 422, nil},
		{"another key", form, "topic=a&data=x", []string{"Idempotency-Key", "K"}, 201, nil},
		{"no key", form, "topic=a&data=x", nil, 201, nil},
		{"another subject", form, "topic=a&data=x", []string{"Idempotency-Key", "k", "Authorization", "Bearer b"}, 201, nil},
		{"another subject's body", form, "topic=a&data=y", []string{"Idempotency-Key", "k", "Authorization", "Bearer c"}, 201, nil},
		{"empty key", form, "topic=a", []string{"Idempotency-Key", ""}, 400, nil},
		{"long key", form, "topic=a", []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, nil},
		{"longest key", form, "topic=a", []string{"Idempotency-Key", strings.Repeat("k", 255)}, 201, nil},
	}
	seen := slices.Concat(first, both)
	for _, test := range tests {
		answer := post(h, test.contentType, test.body, test.header...)
		if answer.Code != http.StatusCreated {
			var got problem
			json.Unmarshal(answer.Body.Bytes(), &got)
			if answer.Code != test.status || got.Field != "Idempotency-Key" || got.Error == "" {
				t.Errorf("%s: status %d, %+v", test.name, answer.Code, got)
			}
			continue
		}
		got := ids(t, answer)
		if test.want == nil && slices.Contains(seen, got[0]) || test.want != nil && !slices.Equal(got, test.want) {
			t.Errorf("%s: status %d, ids %v", test.name, answer.Code, got)
		}
		seen = append(seen, got...)
	}
	slices.Sort(seen)
	if got, want := broker.Stats().Published, len(slices.Compact(seen)); got != uint64(want) {
		t.Errorf("%d events are stored, want %d, one per id", got, want)
	}
}

func TestIdempotencyKeyTwice(t *testing.T) {
	h := &server.Handler{Broker: &server.Broker{}, OpenPublish: true}
	request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("topic=a"))
	request.Header = http.Header{"Content-Type": {form}, "Idempotency-Key": {"a", "b"}}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, request)
	if answer.Code != http.StatusBadRequest {
		t.Errorf("status %d", answer.Code)
	}
}

// A failed request is not remembered: it can be corrected and sent again with the same key.
func TestIdempotencyOfFailures(t *testing.T) {
	h := &server.Handler{Broker: &server.Broker{Topics: []string{"a"}}, OpenPublish: true}
	for body, want := range map[string]int{"topic=b": 404, "topic=a&type=%0A": 400} {
		if answer := post(h, form, body, "Idempotency-Key", "k"); answer.Code != want {
			t.Errorf("%s: status %d", body, answer.Code)
		}
	}
	ids(t, post(h, form, "topic=a", "Idempotency-Key", "k"))
}

func TestConcurrentIdempotencyKey(t *testing.T) {
	broker := &server.Broker{}
	h := &server.Handler{Broker: broker, OpenPublish: true}
	var mu sync.Mutex
	answers := map[string]int{}
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			id := ids(t, post(h, form, "topic=a", "Idempotency-Key", "k"))[0]
			mu.Lock()
			defer mu.Unlock()
			answers[id]++
		})
	}
	clients.Wait()
	if len(answers) != 1 || broker.Stats().Published != 1 {
		t.Errorf("ids %v, %d events", answers, broker.Stats().Published)
	}
}

func TestIdempotencyIsBounded(t *testing.T) {
	tests := map[string]struct {
		broker *server.Broker
		wait   time.Duration
		stored uint64 // after a, b, c of two events each, and after the wait c, b, a again
	}{
		"defaults":             {&server.Broker{}, time.Hour, 6},
		"age":                  {&server.Broker{}, time.Hour + 1, 12},
		"age, option":          {&server.Broker{IdempotencyMaxAge: time.Minute}, time.Minute + 1, 12},
		"no age":               {&server.Broker{IdempotencyMaxAge: -1}, 1000 * time.Hour, 6},
		"no age, no bound":     {&server.Broker{IdempotencyMaxAge: -1, IdempotencyMaxBytes: -1}, 1000 * time.Hour, 6},
		"no age, of two keys":  {&server.Broker{IdempotencyMaxAge: -1, IdempotencyMaxBytes: 2 * 256}, 0, 8}, // a was forgotten
		"no age, of one key":   {&server.Broker{IdempotencyMaxAge: -1, IdempotencyMaxBytes: 256}, 0, 10},
		"six keys, half of it": {&server.Broker{IdempotencyMaxBytes: 6 * 256}, 0, 6},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &server.Handler{Broker: test.broker, OpenPublish: true}
				publishKeyed := func(key string) {
					ids(t, post(h, ndjson, lines(`{"topic":"a"}`, `{"topic":"a"}`), "Idempotency-Key", key))
				}
				for _, key := range []string{"a", "b", "c"} {
					publishKeyed(key)
				}
				time.Sleep(test.wait)
				for _, key := range []string{"c", "b", "a"} {
					publishKeyed(key)
				}
				if got := test.broker.Stats().Published; got != test.stored {
					t.Errorf("%d events are stored, want %d", got, test.stored)
				}
			})
		})
	}
}

// A key is never forgotten before IdempotencyMaxAge. If there is no room for another one, the publication is refused with
// Retry-After.
func TestTooManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &server.Broker{IdempotencyMaxBytes: 6 * 256, IdempotencyMaxAge: time.Minute}
		h := &server.Handler{Broker: broker, Authorize: bySubject}
		ask := func(subject, key string, status int, retryAfter string) {
			t.Helper()
			answer := post(h, form, "topic=a", "Authorization", subject, "Idempotency-Key", key)
			if answer.Code != status || answer.Header().Get("Retry-After") != retryAfter || status != 201 && !strings.Contains(answer.Body.String(), "too many idempotency keys") {
				t.Errorf("%s of %s: status %d, headers %v, %s", key, subject, answer.Code, answer.Header(), answer.Body)
			}
		}
		for _, key := range []string{"1", "2", "3", "3"} {
			ask("ada", key, 201, "")
		}
		ask("ada", "4", 429, "60")
		time.Sleep(10 * time.Second)
		for _, key := range []string{"1", "2", "3"} {
			ask("bob", key, 201, "")
		}
		ask("cyd", "1", 503, "50")
		ask("ada", "1", 201, "") // and gets its first response
		ids(t, post(h, form, "topic=a", "Authorization", "cyd"))
		if stats := broker.Stats(); stats.IdempotencyKeys != 6 || stats.IdempotencyBytes != 6*256 || stats.Refused != 2 || stats.Published != 7 {
			t.Errorf("stats %+v", stats)
		}
		time.Sleep(50*time.Second + 1)
		ask("cyd", "1", 201, "")
		ask("ada", "4", 201, "")
		// Without subjects, each address has its own keys.
		anonymous := &server.Handler{Broker: &server.Broker{IdempotencyMaxBytes: 2 * 256}, OpenPublish: true}
		for i, want := range []int{201, 429, 201} {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("topic=a"))
			r.Header = http.Header{"Content-Type": {form}, "Idempotency-Key": {fmt.Sprint(i)}}
			r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i/2)
			answer := httptest.NewRecorder()
			if anonymous.ServeHTTP(answer, r); answer.Code != want {
				t.Errorf("request %d: status %d, %s", i, answer.Code, answer.Body)
			}
		}
	})
}
