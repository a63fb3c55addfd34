package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// Each problem says what to write instead, and the suggestion is valid.
func TestValidateOrigins(t *testing.T) {
	tests := map[string]string{ // by origin: a part of the problem, or empty if valid
		"*":                               "",
		"https://app.example":             "",
		"https://*.app.example":           "",
		"https://*.app.example:8443":      "",
		"http://localhost:3000":           "",
		"http://*.localhost:3000":         "",
		"http://127.0.0.1:8080":           "",
		"http://[::1]:8080":               "",
		"http://app.example:443":          "",
		"capacitor://localhost":           "",
		"chrome-extension://abcdef":       "",
		"https://xn--bcher-kva.example":   "",
		"https://App.example":             `write "https://app.example"`,
		"HTTPS://app.example":             `write "https://app.example"`,
		"https://*.App.example":           `write "https://*.app.example"`,
		"https://app.example/":            `write "https://app.example"`,
		"https://App.example/path?a#b":    `write "https://app.example"`,
		"https://*.app.example/":          `write "https://*.app.example"`,
		"https://me@app.example":          `write "https://app.example"`,
		"https://app.example:443":         `write "https://app.example"`,
		"https://*.app.example:443":       `write "https://*.app.example"`,
		"http://app.example:80":           `write "http://app.example"`,
		"https://app.example:":            `write "https://app.example"`,
		"app.example":                     `write "https://app.example"`,
		"*.app.example":                   `write "https://*.app.example"`,
		"//app.example":                   `write "https://app.example"`,
		"localhost:3000":                  `write "https://localhost:3000"`,
		"http://[0:0::1]":                 `write "[::1]"`,
		"https://*":                       `write "*" for all`,
		"https://app.*":                   "the whole first label",
		"https://a.*.example":             "the whole first label",
		"https://*app.example":            "the whole first label",
		"https://**.app.example":          "the whole first label",
		"https://*.*.app.example":         "the whole first label",
		"https://bücher.example":          "xn--",
		"https://*.0.0.1":                 "matches nothing",
		"https://1.2.3":                   "matches nothing",
		"https://":                        "not a valid host",
		"https://*.":                      "not a valid host",
		"https://a..example":              "not a valid host",
		"https://a.example.":              "not a valid host",
		"https://a b.example":             "each origin separately",
		"https://[::1":                    "not a valid host",
		"https://*.[::1]":                 "not a valid host",
		"https://app.example:99999":       "invalid port",
		"https://app.example:080":         "invalid port",
		"https://app.example:*":           "invalid port",
		"*://app.example":                 "invalid scheme",
		"":                                "matches nothing",
		" https://app.example":            "without spaces",
		"https://a.example, https://b.ex": "each origin separately",
		"null":                            "cannot be allowed",
	}
	for origin, want := range tests {
		t.Run(origin, func(t *testing.T) {
			problem := (&server.Handler{Broker: &server.Broker{}, AllowedOrigins: []string{"*", origin}}).Validate()
			wantProblem(t, problem, "AllowedOrigins", origin, want)
			if _, instead, ok := strings.Cut(want, `write "http`); ok {
				instead = "http" + strings.TrimSuffix(instead, `"`)
				if err := (&server.Handler{Broker: &server.Broker{}, AllowedOrigins: []string{instead}}).Validate(); err != nil {
					t.Errorf("the suggestion is also invalid: %v", err)
				}
			}
		})
	}
}

func wantProblem(t *testing.T, problem error, field, element, want string) {
	t.Helper()
	switch {
	case want == "" && problem != nil:
		t.Errorf("got %v", problem)
	case want != "" && (problem == nil || !strings.Contains(problem.Error(), want) || !strings.HasPrefix(problem.Error(), fmt.Sprintf("%s: %q ", field, element))):
		t.Errorf("got %v, want %s", problem, want)
	}
}

// A pattern without complaints can match an origin, and one with complaints cannot.
func FuzzValidateOrigin(f *testing.F) {
	for _, origin := range []string{"https://*.app.example", "https://app.example:443", "http://[::1]:80", "null", "a://b", "https://*.1"} {
		f.Add(origin)
	}
	f.Fuzz(func(t *testing.T, origin string) {
		fine := (&server.Handler{Broker: &server.Broker{}, AllowedOrigins: []string{origin}}).Validate() == nil
		matches := server.MatchOrigin([]string{origin}, strings.Replace(origin, "*", "a", 1))
		if fine && !matches && origin != "*" {
			t.Errorf("%q matches nothing, but Validate accepts it", origin)
		}
		if strings.Contains(origin, "*") && server.MatchOrigin([]string{origin}, strings.Replace(origin, "*.", "", 1)) {
			t.Errorf("%q matches without a subdomain", origin)
		}
	})
}

func TestValidateOthers(t *testing.T) {
	broker := &server.Broker{}
	hosts := func(host string) server.Handler { return server.Handler{Broker: broker, Hosts: []string{host}} }
	headers := func(name string) server.Handler {
		return server.Handler{Broker: broker, AllowedHeaders: []string{name}}
	}
	tests := []struct {
		handler        server.Handler
		field, element string
		want           string
	}{
		{hosts("app.example"), "", "", ""},
		{hosts("App.example:8080"), "", "", ""},
		{hosts("*.app.example:8080"), "", "", ""},
		{hosts("127.0.0.1:8080"), "", "", ""},
		{hosts("[::1]:8080"), "", "", ""},
		{hosts("https://app.example/x"), "Hosts", "https://app.example/x", `write "app.example"`},
		{hosts("app.example/x"), "Hosts", "app.example/x", `write "app.example"`},
		{hosts("::1"), "Hosts", "::1", `write "[::1]"`},
		{hosts("app.example:"), "Hosts", "app.example:", `write "app.example"`},
		{hosts("*"), "Hosts", "*", "empty for any host"},
		{hosts("app.*"), "Hosts", "app.*", "first label"},
		{hosts(""), "Hosts", "", "not a valid host"},
		{hosts("a b"), "Hosts", "a b", "not a valid host"},
		{hosts("app.example:http"), "Hosts", "app.example:http", "invalid port"},
		{headers("X-Tenant"), "", "", ""},
		{headers("traceparent"), "", "", ""},
		{headers("*"), "AllowedHeaders", "*", "list the header names"},
		{headers("X Tenant"), "AllowedHeaders", "X Tenant", "not a valid header name"},
		{headers("X-A,X-B"), "AllowedHeaders", "X-A,X-B", "not a valid header name"},
		{headers("Cookie"), "AllowedHeaders", "Cookie", "remove it"},
		{server.Handler{Broker: broker, Topics: []string{"a.>"}}, "", "", ""},
		{server.Handler{Broker: broker, Topics: []string{"a.>.b"}}, "Topics", "a.>.b", "last token"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.handler.Hosts, test.handler.AllowedHeaders, test.handler.Topics), func(t *testing.T) {
			wantProblem(t, test.handler.Validate(), test.field, test.element, test.want)
		})
	}
	all := (&server.Handler{AllowedOrigins: []string{"x", "*", "y"}, Hosts: []string{"*"}}).Validate()
	if got := strings.Count(fmt.Sprint(all), "\n"); got != 3 || !strings.Contains(all.Error(), "Broker") {
		t.Errorf("got %v", all)
	}
}

func TestHosts(t *testing.T) {
	hosts := []string{"app.example", "*.sub.example", "only.example:8080", "default.example:443", "[::1]", "127.0.0.1:8080"}
	for host, want := range map[string]bool{
		"app.example":           true,
		"app.example:8080":      true,
		"APP.Example":           true,
		"www.app.example":       false,
		"app.example.evil":      false,
		"app.example.":          false,
		"evil.example":          false,
		"evil.example:8080":     false, // from a page whose name was rebound to this address
		"a.sub.example":         true,
		"a.b.sub.example:1":     true,
		"sub.example":           false,
		"asub.example":          false,
		".sub.example":          false,
		"evil/.sub.example":     false,
		"only.example:8080":     true,
		"only.example":          false,
		"only.example:80":       false,
		"default.example":       true,
		"default.example:443":   true,
		"default.example:444":   false,
		"[::1]":                 true,
		"[::1]:9":               true,
		"[::2]":                 false,
		"127.0.0.1:8080":        true,
		"127.0.0.1":             false,
		"localhost":             false,
		"":                      false,
		":8080":                 false,
		"app.example:8080:8080": false,
	} {
		t.Run(host, func(t *testing.T) {
			h := &server.Handler{Broker: &server.Broker{}, OpenPublish: true, Hosts: hosts, Tickets: &server.Tickets{}, AllowedOrigins: []string{listed}}
			for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "PUT", "TICKET"} {
				r := httptest.NewRequest(strings.Replace(method, "TICKET", "POST", 1), "/?topic=", nil)
				r.Host, r.Header = host, http.Header{"Origin": {listed}}
				answer, serve := httptest.NewRecorder(), h.ServeHTTP
				if method == "TICKET" {
					serve = h.ServeTicket
				}
				serve(answer, r)
				if refused := answer.Code == http.StatusMisdirectedRequest; refused == want {
					t.Errorf("%s: status %d, %s", method, answer.Code, answer.Body)
				}
				if answer.Code == http.StatusMisdirectedRequest && (answer.Header().Get("Access-Control-Allow-Origin") != "" || method != "HEAD" && !strings.Contains(answer.Body.String(), `"field":"Host"`)) {
					t.Errorf("%s: headers %v, %s", method, answer.Header(), answer.Body)
				}
			}
		})
	}
	if answer := do(&server.Handler{Broker: &server.Broker{}}, "HEAD", "http://whatever.example/"); answer.Code != http.StatusOK {
		t.Errorf("without a list: status %d", answer.Code)
	}
}
