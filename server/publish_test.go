package server_test

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

const (
	form     = "application/x-www-form-urlencoded"
	jsonType = "application/json"
	ndjson   = "application/x-ndjson"
)

type problem struct{ Error, Field string }

func post(h http.Handler, contentType, body string, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, "http://test.example/events", strings.NewReader(body))
	request.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	return recorder
}

func TestPublishOverHTTP(t *testing.T) {
	tests := map[string]struct {
		contentType, body string
		want              sse.Event
	}{
		"form":          {form, "topic=a&data=one%0Atwo&type=greet&retry=7000", sse.Event{Type: "greet", Data: "one\ntwo", Retry: 7000}},
		"form, charset": {form + "; charset=UTF-8", "data=%E2%98%83&topic=a", sse.Event{Data: "☃"}},
		"JSON":          {jsonType, `{"topic":"a","data":"one\r\ntwo","type":"greet","retry":7000}`, sse.Event{Type: "greet", Data: "one\ntwo", Retry: 7000}},
		"JSON, charset": {jsonType + ";charset=utf-8", `{"topic":"a","data":"☃"}`, sse.Event{Data: "☃"}},
		"retry as text": {jsonType, `{"topic":"a","retry":"7000"}`, sse.Event{Retry: 7000}},
		"topic only":    {form, "topic=a", sse.Event{}},
		"empty pairs":   {form, "&topic=a&&", sse.Event{}},
		"no retry":      {form, "topic=a&retry=0", sse.Event{}},
		"least retry":   {form, "topic=a&retry=1000", sse.Event{Retry: 1000}},
		"most retry":    {form, "topic=a&retry=3600000", sse.Event{Retry: 3_600_000}},
		"another gap":   {form, "topic=a&type=Gap", sse.Event{Type: "Gap"}},
		"escaped names": {jsonType, `{"\u0074opic":"a"}`, sse.Event{}},
		"null fields":   {jsonType, `{"topic":"a","data":null,"type":null}`, sse.Event{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			broker := &server.Broker{}
			h := &server.Handler{Broker: broker, OpenPublish: true}
			answer := post(h, test.contentType, test.body)
			if answer.Code != http.StatusCreated || answer.Header().Get("Content-Type") != jsonType {
				t.Fatalf("status %d, headers %v, body %s", answer.Code, answer.Header(), answer.Body)
			}
			var created struct{ ID string }
			if err := json.Unmarshal(answer.Body.Bytes(), &created); err != nil {
				t.Fatal(err)
			}
			c := opened(t, start(t, h)+"?topic=a", "Last-Event-ID", epochOf(created.ID)+"-0")
			c.wantEvent(created.ID, test.want)
		})
	}
}

func TestPublishRefused(t *testing.T) {
	tests := map[string]struct {
		contentType, body string
		status            int
		field             string
	}{
		"no topic":            {form, "data=x", 400, "topic"},
		"empty topic":         {jsonType, `{"topic":""}`, 400, "topic"},
		"long topic":          {form, "topic=" + strings.Repeat("t", 256), 400, "topic"},
		"two topics":          {form, "topic=a&topic=b", 400, "topic"},
		"topic of JSON":       {jsonType, `{"topic":["a"]}`, 400, "topic"},
		"pattern":             {form, "topic=*", 400, "topic"},
		"unknown topic":       {form, "topic=<b>", 404, "topic"},
		"another's topic":     {form, "topic=hidden", 404, "topic"},
		"newline in type":     {form, "topic=a&type=x%0Ay", 400, "type"},
		"return in type":      {jsonType, `{"topic":"a","type":"x\ry"}`, 400, "type"},
		"number as type":      {jsonType, `{"topic":"a","type":1}`, 400, "type"},
		"number as data":      {jsonType, `{"topic":"a","data":1}`, 400, "data"},
		"data not UTF-8":      {form, "topic=a&data=%ff", 400, "data"},
		"retry not a number":  {form, "topic=a&retry=soon", 400, "retry"},
		"negative retry":      {jsonType, `{"topic":"a","retry":-1}`, 400, "retry"},
		"fractional retry":    {jsonType, `{"topic":"a","retry":1.5}`, 400, "retry"},
		"retry as an object":  {jsonType, `{"topic":"a","retry":{}}`, 400, "retry"},
		"retry of exponents":  {jsonType, `{"topic":"a","retry":5e3}`, 400, "retry"},
		"retry too short":     {form, "topic=a&retry=999", 400, "retry"},
		"retry too long":      {form, "topic=a&retry=3600001", 400, "retry"},
		"retry of 64 bits":    {jsonType, `{"topic":"a","retry":18446744073709551615}`, 400, "retry"},
		"retry over 64 bits":  {jsonType, `{"topic":"a","retry":18446744073709551616}`, 400, "retry"},
		"reserved type":       {form, "topic=a&type=gap", 400, "type"},
		"reserved, in JSON":   {jsonType, `{"topic":"a","type":"\u0067ap"}`, 400, "type"},
		"a field twice":       {jsonType, `{"topic":"a","data":"x","data":"y"}`, 400, "data"},
		"a null twice":        {jsonType, `{"topic":"a","data":null,"data":null}`, 400, "data"},
		"a field's case":      {jsonType, `{"Topic":"a"}`, 400, "Topic"},
		"semicolons":          {form, "topic=a;data=x", 400, ""},
		"JSON, no colon":      {jsonType, `{"topic" "a"}`, 400, ""},
		"JSON, more commas":   {jsonType, `{"topic":"a",}`, 400, ""},
		"JSON, no commas":     {jsonType, `{"topic":"a" "data":"x"}`, 400, ""},
		"JSON, another end":   {jsonType, `{"topic":"a"]`, 400, ""},
		"JSON, no name":       {jsonType, `{topic:"a"}`, 400, ""},
		"JSON, a string":      {jsonType, `"topic"`, 400, ""},
		"JSON, empty":         {jsonType, ` `, 400, ""},
		"own id":              {form, "topic=a&id=1", 400, "id"},
		"misspelt field":      {jsonType, `{"topic":"a","dta":"x"}`, 400, "dta"},
		"malformed form":      {form, "topic=%zz", 400, ""},
		"malformed JSON":      {jsonType, `{"topic":"a"`, 400, ""},
		"JSON, not an object": {jsonType, `["a"]`, 400, ""},
		"JSON, and more":      {jsonType, `{"topic":"a"} {}`, 400, ""},
		"JSON, not UTF-8":     {jsonType, "{\"topic\":\"a\",\"data\":\"\xff\"}", 400, ""},
		"body too large":      {form, "topic=a&data=" + strings.Repeat("x", 1000), 413, ""},
		"event too large":     {form, "topic=a&data=" + strings.Repeat("%0A", 50), 413, ""},
		"no content type":     {"", "topic=a", 415, "Content-Type"},
		"other content type":  {"text/plain", "topic=a", 415, "Content-Type"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			broker := &server.Broker{Topics: []string{"a", "hidden"}, MaxEventBytes: 300}
			h := &server.Handler{Broker: broker, Topics: []string{"a"}, OpenPublish: true, MaxBodyBytes: 500, Logger: quiet}
			answer := post(h, test.contentType, test.body)
			var got problem
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatalf("status %d, body %q: %v", answer.Code, answer.Body, err)
			}
			if answer.Code != test.status || got.Field != test.field || got.Error == "" {
				t.Errorf("status %d, %+v, want %d and field %q", answer.Code, got, test.status, test.field)
			}
			if answer.Header().Get("X-Content-Type-Options") != "nosniff" || strings.Contains(answer.Body.String(), "<") {
				t.Errorf("a browser might take this for HTML: %v %s", answer.Header(), answer.Body)
			}
			if got := broker.Stats().Published; got != 0 {
				t.Errorf("%d events published", got)
			}
		})
	}
}

func TestUnknownTopicInError(t *testing.T) {
	h := &server.Handler{Broker: &server.Broker{Topics: []string{"a"}}, OpenPublish: true}
	answer := post(h, form, "topic=nowhere")
	if !strings.Contains(answer.Body.String(), "nowhere") {
		t.Errorf("body %s", answer.Body)
	}
}

func TestBodyReadError(t *testing.T) {
	request := httptest.NewRequest(http.MethodPost, "/", failingReader{})
	request.Header.Set("Content-Type", form)
	recorder := httptest.NewRecorder()
	(&server.Handler{Broker: &server.Broker{}, OpenPublish: true}).ServeHTTP(recorder, request)
	if recorder.Code != http.StatusBadRequest {
		t.Errorf("status %d", recorder.Code)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("connection lost") }

func TestNoBodyLimit(t *testing.T) {
	broker := &server.Broker{MaxEventBytes: -1}
	h := &server.Handler{Broker: broker, OpenPublish: true, MaxBodyBytes: -1}
	if answer := post(h, form, "topic=a&data="+strings.Repeat("x", 3<<20)); answer.Code != http.StatusCreated {
		t.Errorf("status %d", answer.Code)
	}
}

func TestPublish(t *testing.T) {
	tests := map[string]struct {
		topic string
		event sse.Event
		want  error
	}{
		"valid":          {"a", sse.Event{Data: "x"}, nil},
		"unknown topic":  {"b", sse.Event{}, server.ErrUnknownTopic},
		"empty topic":    {"", sse.Event{}, server.ErrInvalidTopic},
		"own id":         {"a", sse.Event{ID: "1"}, server.ErrEventHasID},
		"type of lines":  {"a", sse.Event{Type: "x\n"}, sse.ErrInvalidType},
		"data too large": {"a", sse.Event{Data: strings.Repeat("x", 1<<20+1)}, sse.ErrEventTooLarge},
		"many lines":     {"a", sse.Event{Data: strings.Repeat("\n", 1<<19)}, sse.ErrEventTooLarge},
		"reserved type":  {"a", sse.Event{Type: "gap"}, server.ErrReservedType},
		"short retry":    {"a", sse.Event{Retry: 1}, server.ErrInvalidRetry},
		"endless retry":  {"a", sse.Event{Retry: math.MaxUint64}, server.ErrInvalidRetry},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			broker := &server.Broker{Topics: []string{"a"}}
			id, err := broker.Publish(t.Context(), test.topic, test.event)
			if !errors.Is(err, test.want) || (id == "") != (err != nil) {
				t.Errorf("Publish = %q, %v, want error %v", id, err, test.want)
			}
		})
	}
}

func TestEpochs(t *testing.T) {
	a, b := publish(t, &server.Broker{}, "t", "x"), publish(t, &server.Broker{}, "t", "x")
	if epochOf(a) == epochOf(b) || len(epochOf(a)) != 8 {
		t.Errorf("ids %s and %s", a, b)
	}
}

// wantEvent reads the greeting and one event.
func (c *client) wantEvent(id string, want sse.Event) {
	c.t.Helper()
	encoded, err := sse.Append(nil, sse.Event{ID: id, Type: want.Type, Data: want.Data, Retry: want.Retry})
	if err != nil {
		c.t.Fatal(err)
	}
	text := ": \n" + string(encoded)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c.reader, got); err != nil {
		c.t.Fatal(err)
	}
	if string(got) != text {
		c.t.Errorf("got %q, want %q", got, text)
	}
}

func TestRetryBounds(t *testing.T) {
	tests := map[string]struct {
		broker *server.Broker
		retry  uint64
		want   error
	}{
		"shorter by option":  {&server.Broker{MinRetry: time.Millisecond}, 1, nil},
		"no least":           {&server.Broker{MinRetry: -1}, 1, nil},
		"less than a second": {&server.Broker{MinRetry: 5 * time.Second}, 4999, server.ErrInvalidRetry},
		"longer by option":   {&server.Broker{MaxRetry: 2 * time.Hour}, 7_200_000, nil},
		"still too long":     {&server.Broker{MaxRetry: 2 * time.Hour}, 7_200_001, server.ErrInvalidRetry},
		"no most":            {&server.Broker{MaxRetry: -1}, math.MaxUint64, nil},
		"none":               {&server.Broker{MinRetry: time.Hour}, 0, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := test.broker.Publish(t.Context(), "a", sse.Event{Retry: test.retry}); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}
