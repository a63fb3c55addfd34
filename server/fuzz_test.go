package server_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

func fuzzed() *server.Handler {
	return &server.Handler{
		Broker:         &server.Broker{Topics: []string{"a", "b"}, MaxEventBytes: 1000},
		Authorize:      server.BearerToken("secret"),
		AllowedOrigins: []string{listed},
		MaxBodyBytes:   2000,
		Logger:         quiet,
	}
}

// Whatever is posted gets one of the documented answers, and is published exactly if that is 201.
func FuzzPublishRequest(f *testing.F) {
	f.Add(form, "topic=a&data=x&type=y&retry=5", "Bearer secret", "", "")
	f.Add(jsonType, `{"topic":"a","data":"x","type":"y","retry":5}`, "Bearer secret", listed, "cross-site")
	f.Add(jsonType, `{"topic":null,"retry":"x","data":["\ud800"]}`, "Bearer secret", unlisted, "same-origin")
	f.Add(form+`; charset="`, "topic=a&type=%0Aid:1&&=;%zz", "bearer  secret", "null", "none")
	f.Add("multipart/form-data; boundary=x", "--x\r\n", "Basic x", "*", "same-site")
	documented := []int{201, 400, 401, 403, 404, 413, 415}
	f.Fuzz(func(t *testing.T, contentType, body, authorization, origin, site string) {
		h := fuzzed()
		answer := post(h, contentType, body, "Authorization", authorization, "Origin", origin, "Sec-Fetch-Site", site)
		if !slices.Contains(documented, answer.Code) {
			t.Fatalf("status %d: %s", answer.Code, answer.Body)
		}
		if got := h.Broker.Stats().Published; (got == 1) != (answer.Code == http.StatusCreated) {
			t.Errorf("%d events published by an answer %d", got, answer.Code)
		}
		if strings.ContainsAny(answer.Body.String(), "<>") || answer.Header().Get("Content-Type") != jsonType {
			t.Errorf("a browser might take this for HTML: %v %s", answer.Header(), answer.Body)
		}
	})
}

// Whatever is asked for gets one of the documented answers, and a gap if it is an id that cannot be continued from.
func FuzzSubscribeRequest(f *testing.F) {
	f.Add("topic=a&topic=b", "x-1", "Bearer secret", listed)
	f.Add("lastEventId=%00&topic=%zz", "", "Bearer", "null")
	f.Add("topic=<script>", "-18446744073709551616", "Bearer secret", "")
	documented := []int{200, 400, 401, 404}
	gaps := []string{"expired", "future", "epoch", "malformed"}
	f.Fuzz(func(t *testing.T, query, lastEventID, authorization, origin string) {
		h := fuzzed()
		request := httptest.NewRequest(http.MethodHead, "/", nil)
		request.URL.RawQuery = query
		request.Header = http.Header{
			"Last-Event-Id": {lastEventID},
			"Authorization": {authorization},
			"Origin":        {origin},
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, request)
		if !slices.Contains(documented, answer.Code) {
			t.Fatalf("status %d: %s", answer.Code, answer.Body)
		}
		gap := answer.Header().Get("Event-Gap")
		if gap != "" && !slices.Contains(gaps, gap) || answer.Code == 200 && lastEventID != "" && gap == "" {
			t.Errorf("gap %q for %q", gap, lastEventID)
		}
	})
}
