package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// do serves a request whose response is complete at once, unlike a stream.
func do(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	return recorder
}

func TestBearerToken(t *testing.T) {
	const missing, invalid = `Bearer realm="events"`, `Bearer realm="events", error="invalid_token"`
	tests := map[string]struct {
		token, authorization string
		status               int
		challenge            string
	}{
		"right":          {"secret", "Bearer secret", 200, ""},
		"scheme's case":  {"secret", "bearer  secret", 200, ""},
		"missing":        {"secret", "", 401, missing},
		"another scheme": {"secret", "Basic c2VjcmV0", 401, missing},
		"wrong":          {"secret", "Bearer Secret", 401, invalid},
		"longer":         {"secret", "Bearer secret2", 401, invalid},
		"empty":          {"secret", "Bearer ", 401, invalid},
		"none set":       {"", "Bearer ", 401, invalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &server.Handler{Broker: &server.Broker{}, Authorize: server.BearerToken(test.token)}
			answer := do(h, http.MethodHead, "/", "Authorization", test.authorization)
			challenge := answer.Header().Get("WWW-Authenticate")
			if answer.Code != test.status || challenge != test.challenge {
				t.Errorf("status %d, challenge %s", answer.Code, challenge)
			}
			published := post(h, form, "topic=a", "Authorization", test.authorization)
			if (published.Code == http.StatusCreated) != (test.status == http.StatusOK) {
				t.Errorf("publishing: status %d", published.Code)
			}
		})
	}
}

func TestSubscribeOnly(t *testing.T) {
	h := &server.Handler{Broker: &server.Broker{}, Authorize: server.SubscribeOnly(server.BearerToken("secret"))}
	for token, want := range map[string]struct{ read, publish int }{
		"Bearer secret": {http.StatusOK, http.StatusForbidden},
		"Bearer wrong":  {http.StatusUnauthorized, http.StatusUnauthorized},
	} {
		if got := do(h, http.MethodHead, "/", "Authorization", token).Code; got != want.read {
			t.Errorf("%s: reading: status %d, want %d", token, got, want.read)
		}
		if got := post(h, form, "topic=a&data=x", "Authorization", token).Code; got != want.publish {
			t.Errorf("%s: publishing: status %d, want %d", token, got, want.publish)
		}
	}
}

func TestAuthorizeGetsRequestedTopics(t *testing.T) {
	subscribe := func(topics ...string) []server.Access {
		return []server.Access{{Action: server.ActionSubscribe, Topics: topics}}
	}
	publish := func(events int, topics ...string) []server.Access {
		return []server.Access{{Action: server.ActionPublish}, {Action: server.ActionPublish, Topics: topics, Events: events}}
	}
	posting := func(contentType, body string) func(http.Handler) *httptest.ResponseRecorder {
		return func(h http.Handler) *httptest.ResponseRecorder { return post(h, contentType, body) }
	}
	tests := map[string]struct {
		topics []string // of the handler
		do     func(http.Handler) *httptest.ResponseRecorder
		want   []server.Access
	}{
		"all of any":    {nil, head("/"), subscribe(">")},
		"all of a list": {[]string{"a", "b"}, head("/"), subscribe("a", "b")},
		"some":          {nil, head("/?topic=b&topic=c"), subscribe("b", "c")},
		"patterns":      {[]string{"a"}, head("/?topic=*&topic=b.%3E"), subscribe("*", "b.>")},
		"unknown":       {[]string{"a"}, head("/?topic=x"), subscribe("x")},
		"publish":       {nil, posting(form, "topic=a"), publish(1, "a")},
		"publish many":  {nil, posting(ndjson, lines(`{"topic":"b"}`, `{"topic":"a"}`, `{"topic":"b"}`)), publish(3, "b", "a")},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []server.Access
			h := &server.Handler{Broker: &server.Broker{}, Topics: test.topics}
			h.Authorize = func(_ *http.Request, access server.Access) (server.Grant, error) {
				if got = append(got, access); len(access.Topics) > 0 {
					return server.Grant{}, server.ErrForbidden
				}
				return server.Grant{}, nil
			}
			if answer := test.do(h); answer.Code != http.StatusForbidden || !reflect.DeepEqual(got, test.want) {
				t.Errorf("status %d, asked for %+v, want %+v", answer.Code, got, test.want)
			}
		})
	}
}

func head(target string) func(http.Handler) *httptest.ResponseRecorder {
	return func(h http.Handler) *httptest.ResponseRecorder { return do(h, http.MethodHead, target) }
}

func TestAuthorizeErrors(t *testing.T) {
	tests := map[string]struct {
		err        error
		status     int
		retryAfter string
		body       string
	}{
		"wrapped":      {fmt.Errorf("password x: %w", server.ErrForbidden), 403, "", "do not permit"},
		"token":        {server.ErrInvalidToken, 401, "", "credentials"},
		"own":          {&server.HTTPError{Status: 429, RetryAfter: 1500 * time.Millisecond, Message: "slow down"}, 429, "2", "slow down"},
		"own, wrapped": {fmt.Errorf("%w", &server.HTTPError{Status: 503, Field: "topic"}), 503, "", "Service Unavailable"},
		"no content":   {&server.HTTPError{Status: 204}, 204, "", ""},
		"unexpected":   {errors.New("the password of the database is"), 500, "", "Internal Server Error"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &server.Handler{Broker: &server.Broker{}, Logger: quiet}
			h.Authorize = func(*http.Request, server.Access) (server.Grant, error) { return server.Grant{}, test.err }
			answer := do(h, http.MethodGet, "/")
			body := answer.Body.String()
			if answer.Code != test.status || !strings.Contains(body, test.body) || strings.Contains(body, "password") {
				t.Errorf("status %d, body %q", answer.Code, body)
			}
			if (body == "") != (test.body == "") {
				t.Errorf("body %q", body)
			}
			if got := answer.Header().Get("Retry-After"); got != test.retryAfter {
				t.Errorf("Retry-After: %q, want %q", got, test.retryAfter)
			}
		})
	}
}

func TestRequestsRefused(t *testing.T) {
	tests := map[string]struct {
		method, target string
		status         int
		field          string
	}{
		"method":          {"DELETE", "/", 405, ""},
		"unknown topic":   {"GET", "/?topic=a&topic=%3Cb%3E", 404, "topic"},
		"unknown pattern": {"GET", "/?topic=*&topic=a.%3E", 404, "topic"},
		"invalid pattern": {"GET", "/?topic=%3E.a", 400, "topic"},
		"empty topic":     {"GET", "/?topic=", 400, "topic"},
		"too many topics": {"GET", "/?" + strings.Repeat("topic=a&", 33), 400, "topic"},
		"malformed query": {"GET", "/?topic=%zz", 400, ""},
		"publishing":      {"POST", "/", 403, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &server.Handler{Broker: &server.Broker{Topics: []string{"a"}}}
			answer := do(h, test.method, test.target)
			var got problem
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if answer.Code != test.status || got.Field != test.field || strings.Contains(answer.Body.String(), "<") {
				t.Errorf("status %d, body %s", answer.Code, answer.Body)
			}
			if allow := answer.Header().Get("Allow"); (test.status == 405) != (allow == "GET, HEAD, OPTIONS, POST") {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
}

// Large values in a request are refused, or at least not repeated in the response.
func TestOversizedRequests(t *testing.T) {
	large := strings.Repeat("x", 500_000)
	tests := map[string]struct {
		target string
		header []string
		status int
	}{
		"topic":            {"/?topic=" + large, nil, 400},
		"topic of dots":    {"/?topic=" + strings.Repeat(".", 256), nil, 400},
		"deepest pattern":  {"/?topic=" + strings.Repeat("*.", 127) + "%3E", nil, 200},
		"topics":           {"/?" + strings.Repeat("topic=a&", 60_000), nil, 400},
		"last event ID":    {"/", []string{"Last-Event-ID", large}, 200},
		"its parameter":    {"/?lastEventId=" + large, nil, 200},
		"ticket":           {"/?ticket=" + large, nil, 401},
		"other parameters": {"/?" + strings.Repeat("p&", 5_000), nil, 200},
		"authorization":    {"/", []string{"Authorization", "Bearer " + large}, 200},
		"forwarded":        {"/", []string{"X-Forwarded-For", strings.Repeat("127.0.0.1,", 50_000)}, 200},
		"headers":          {"/", []string{"X-Any", large, "X-More", large, "X-And-More", large}, 431},
	}
	h := &server.Handler{
		Broker:         &server.Broker{MaxConnectionsPerIP: 100},
		Tickets:        &server.Tickets{},
		TrustedProxies: networks("127.0.0.1/32"),
		Logger:         quiet,
	}
	url := start(t, h)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := open(t, url+test.target, test.header...)
			if c.response.StatusCode != test.status {
				t.Fatalf("status %d", c.response.StatusCode)
			}
			block, _ := c.read()
			length := 0
			for name, value := range block {
				length += len(name) + len(value)
			}
			if length > 1000 {
				t.Errorf("the response repeats %d bytes", length)
			}
		})
	}
}

func TestErrorMessages(t *testing.T) {
	for want, err := range map[string]error{
		"Not Found":       &server.HTTPError{Status: 404},
		"topic: is wrong": &server.HTTPError{Status: 400, Field: "topic", Message: "is wrong"},
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}
