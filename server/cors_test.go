package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

const listed, unlisted = "https://app.example", "https://evil.example"

func TestCORS(t *testing.T) {
	tests := map[string]struct {
		allowed              []string
		origin               string
		allow, credentials   string
		varies, mayPreflight bool
	}{
		"closed by default":  {nil, listed, "", "", false, false},
		"listed":             {[]string{listed}, listed, listed, "true", true, true},
		"second of the list": {[]string{"https://x.example", listed}, listed, listed, "true", true, true},
		"unlisted":           {[]string{listed}, unlisted, "", "", true, false},
		"same origin":        {[]string{listed}, "", "", "", true, false},
		"any":                {[]string{"*"}, unlisted, "*", "", true, true},
		"any and listed":     {[]string{"*", listed}, listed, listed, "true", true, true},
		"null":               {[]string{"null"}, "null", "", "", true, false},
		"null, any":          {[]string{"*"}, "null", "*", "", true, true},
		"a star as origin":   {[]string{"*"}, "*", "*", "", true, true},
		"prefix":             {[]string{listed}, listed + ".evil.example", "", "", true, false},
		"other scheme":       {[]string{listed}, "http://app.example", "", "", true, false},
		"a subdomain":        {[]string{"https://*.example"}, listed, listed, "true", true, true},
		"any and subdomains": {[]string{"*", "https://*.example"}, listed, listed, "true", true, true},
		"no subdomain":       {[]string{"https://*.app.example"}, listed, "", "", true, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &server.Handler{
				Broker:         &server.Broker{Topics: []string{"a"}},
				AllowedOrigins: test.allowed,
				Authorize:      server.BearerToken("secret"),
			}
			answers := map[string]http.Header{
				"stream":       do(h, "HEAD", "/", "Origin", test.origin, "Authorization", "Bearer secret").Header(),
				"401":          do(h, "GET", "/", "Origin", test.origin, "Cookie", "session=1").Header(),
				"404":          do(h, "GET", "/?topic=x", "Origin", test.origin, "Authorization", "Bearer secret").Header(),
				"405":          do(h, "PUT", "/", "Origin", test.origin).Header(),
				"cross-site":   post(h, form, "topic=a", "Origin", test.origin).Header(),
				"OPTIONS":      do(h, "OPTIONS", "/", "Origin", test.origin, "Access-Control-Request-Method", "GET").Header(),
				"another body": post(h, "text/plain", "", "Origin", test.origin).Header(),
			}
			for kind, header := range answers {
				allow, credentials := header.Get("Access-Control-Allow-Origin"), header.Get("Access-Control-Allow-Credentials")
				if allow != test.allow || credentials != test.credentials {
					t.Errorf("%s: allowed %q with credentials %q", kind, allow, credentials)
				}
				if got := slices.Contains(header.Values("Vary"), "Origin"); got != test.varies {
					t.Errorf("%s: Vary: %q", kind, header.Values("Vary"))
				}
				if exposed := header.Get("Access-Control-Expose-Headers"); (exposed != "") != (test.allow != "") {
					t.Errorf("%s: exposed %q", kind, exposed)
				}
			}
			if got := answers["OPTIONS"].Get("Access-Control-Allow-Methods"); (got != "") != test.mayPreflight {
				t.Errorf("methods %q", got)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	tests := map[string]struct {
		handler                  server.Handler
		origin                   string
		methods, headers, maxAge string
	}{
		"listed": {server.Handler{AllowedOrigins: []string{listed}}, listed,
			"GET, HEAD, POST", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID", "7200"},
		"any": {server.Handler{AllowedOrigins: []string{"*"}}, unlisted,
			"GET, HEAD", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID", "7200"},
		"options": {server.Handler{AllowedOrigins: []string{listed}, AllowedHeaders: []string{"X-Trace"}, PreflightMaxAge: time.Minute}, listed,
			"GET, HEAD, POST", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Trace", "60"},
		"not remembered": {server.Handler{AllowedOrigins: []string{listed}, PreflightMaxAge: -1}, listed,
			"GET, HEAD, POST", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID", "0"},
		"refused": {server.Handler{AllowedOrigins: []string{listed}}, unlisted, "", "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &test.handler
			h.Broker = &server.Broker{}
			h.Authorize = func(*http.Request, server.Access) (server.Grant, error) {
				t.Error("Authorize was called for a preflight, which has no credentials")
				return server.Grant{}, nil
			}
			answer := do(h, "OPTIONS", "/", "Origin", test.origin, "Access-Control-Request-Method", "POST")
			header := answer.Header()
			if answer.Code != http.StatusNoContent || header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
				t.Errorf("status %d, headers %v", answer.Code, header)
			}
			for name, want := range map[string]string{
				"Access-Control-Allow-Methods": test.methods,
				"Access-Control-Allow-Headers": test.headers,
				"Access-Control-Max-Age":       test.maxAge,
			} {
				if got := header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestMatchOrigin(t *testing.T) {
	const pattern, withPort = "https://*.app.example", "https://*.app.example:8443"
	tests := map[string]struct {
		pattern, origin string
		want            bool
	}{
		"itself":                  {listed, listed, true},
		"one label":               {pattern, "https://a.app.example", true},
		"two labels":              {pattern, "https://b.a.app.example", true},
		"digits and hyphens":      {pattern, "https://xn--bcher-kva.a_1.app.example", true},
		"none":                    {pattern, "https://app.example", false},
		"an empty one":            {pattern, "https://.app.example", false},
		"an empty one within":     {pattern, "https://a..app.example", false},
		"a longer name":           {pattern, "https://evilapp.example", false},
		"a suffix":                {pattern, "https://a.app.example.evil.example", false},
		"as a user":               {pattern, "https://a.app.example@evil.example", false},
		"after a user":            {pattern, "https://evil.example@a.app.example", false},
		"after a path":            {pattern, "https://evil.example/.app.example", false},
		"after a query":           {pattern, "https://evil.example?.app.example", false},
		"after a fragment":        {pattern, "https://evil.example#.app.example", false},
		"after a backslash":       {pattern, `https://evil.example\.app.example`, false},
		"after a port":            {pattern, "https://evil.example:1.app.example", false},
		"after a line":            {pattern, "https://evil.example\n.app.example", false},
		"after a space":           {pattern, "https://evil.example .app.example", false},
		"after a NUL":             {pattern, "https://evil.example\x00.app.example", false},
		"after an escape":         {pattern, "https://evil.example%2f.app.example", false},
		"capitals":                {pattern, "https://A.app.example", false},
		"capitals of the base":    {pattern, "https://a.APP.example", false},
		"another scheme":          {pattern, "http://a.app.example", false},
		"two schemes":             {pattern, "https://https://a.app.example", false},
		"another port":            {pattern, "https://a.app.example:8443", false},
		"a trailing dot":          {pattern, "https://a.app.example.", false},
		"a slash":                 {pattern, "https://a.app.example/", false},
		"the pattern itself":      {pattern, pattern, false},
		"the port":                {withPort, "https://a.app.example:8443", true},
		"without the port":        {withPort, "https://a.app.example", false},
		"more than the port":      {withPort, "https://a.app.example:84430", false},
		"a star in the middle":    {"https://a.*.example", "https://a.b.example", false},
		"two stars":               {"https://*.*.example", "https://a.b.example", false},
		"within a label":          {"https://a*.example", "https://ab.example", false},
		"of all":                  {"https://*", "https://a", false},
		"of nothing":              {"https://*.", "https://a.", false},
		"of any scheme":           {"*://*.example", "https://a.example", false},
		"without a scheme":        {"*.example", "https://a.example", false},
		"an empty origin":         {"", "", false},
		"null":                    {"null", "null", false},
		"the star":                {"*", "https://a.example", false},
		"an extension's":          {"chrome-extension://abc", "chrome-extension://abc", true},
		"a subdomain of one name": {"http://*.localhost:3000", "http://a.localhost:3000", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := server.MatchOrigin([]string{"https://x.example", test.pattern}, test.origin); got != test.want {
				t.Errorf("MatchOrigin(%q, %q) = %v", test.pattern, test.origin, got)
			}
		})
	}
}

// For a program that parses it as a URL, every origin that matches a subdomain pattern has a host that ends with the base
// of the pattern.
func FuzzMatchOrigin(f *testing.F) {
	for _, origin := range []string{"https://a.app.example", "https://evil.example#.app.example", "https://a.app.example:1", "https://[::1].app.example"} {
		f.Add(origin)
	}
	f.Fuzz(func(t *testing.T, origin string) {
		if !server.MatchOrigin([]string{"https://*.app.example"}, origin) {
			return
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" || !strings.HasSuffix(u.Host, ".app.example") || "https://"+u.Host != origin || strings.ToLower(origin) != origin {
			t.Errorf("%q is listed: %v, %v", origin, u, err)
		}
	})
}

// A form on another site's page is sent with the cookies of its visitor and without a preflight.
func TestCrossSitePublishing(t *testing.T) {
	tests := map[string]struct {
		header []string
		status int
	}{
		"no browser":                 {nil, 201},
		"same origin":                {[]string{"Origin", "http://test.example", "Sec-Fetch-Site", "same-origin"}, 201},
		"same origin, old browser":   {[]string{"Origin", "http://test.example"}, 201},
		"listed":                     {[]string{"Origin", listed, "Sec-Fetch-Site", "cross-site"}, 201},
		"unlisted":                   {[]string{"Origin", unlisted, "Sec-Fetch-Site", "cross-site"}, 403},
		"a listed subdomain":         {[]string{"Origin", "https://a.b.example", "Sec-Fetch-Site", "cross-site"}, 201},
		"its parent":                 {[]string{"Origin", "https://b.example", "Sec-Fetch-Site", "cross-site"}, 403},
		"unlisted, old browser":      {[]string{"Origin", unlisted}, 403},
		"unlisted, without Origin":   {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"sibling domain":             {[]string{"Origin", "http://x.test.example", "Sec-Fetch-Site", "same-site"}, 403},
		"sandboxed":                  {[]string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, 403},
		"unlisted, with credentials": {[]string{"Origin", unlisted, "Cookie", "session=1"}, 403},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &server.Handler{Broker: &server.Broker{}, OpenPublish: true, AllowedOrigins: []string{listed, "*", "null", "https://*.b.example"}}
			if answer := post(h, form, "topic=a", test.header...); answer.Code != test.status {
				t.Errorf("status %d, want %d: %s", answer.Code, test.status, answer.Body)
			}
		})
	}
}
