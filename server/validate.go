package server

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// Validate reports likely mistakes: elements of AllowedOrigins, AllowedHeaders, Hosts and Topics that match nothing,
// and a missing Broker. Each problem says what to write instead. It joins them as [errors.Join] does, and returns nil
// if there are none. Call it when a program starts; ServeHTTP does not.
func (h *Handler) Validate() error {
	var problems []error
	for _, origin := range h.AllowedOrigins {
		problems = append(problems, about("AllowedOrigins", origin, checkOrigin(origin)))
	}
	for _, name := range h.AllowedHeaders {
		problems = append(problems, about("AllowedHeaders", name, checkHeaderName(name)))
	}
	for _, host := range h.Hosts {
		problems = append(problems, about("Hosts", host, checkHost(host)))
	}
	for _, pattern := range h.Topics {
		if err := topic.CheckPattern(pattern, nil); err != nil {
			problems = append(problems, about("Topics", pattern, strings.TrimPrefix(err.Error(), "server: ")))
		}
	}
	if h.Broker == nil {
		problems = append(problems, errors.New("Broker: must not be nil"))
	}
	return errors.Join(problems...)
}

func about(field, element, problem string) error {
	if problem == "" {
		return nil
	}
	return fmt.Errorf("%s: %q %s", field, element, problem)
}

// checkOrigin returns why the pattern matches no origin that a browser sends, and what to write instead.
func checkOrigin(pattern string) (problem string) {
	scheme, host, hasScheme := strings.Cut(pattern, "://")
	switch {
	case pattern == "*":
		return ""
	case pattern == "null":
		return "is the origin of every sandboxed page, so it cannot be allowed: list the origin of your page"
	case strings.TrimSpace(pattern) != pattern || pattern == "":
		return `matches nothing: write an origin such as "https://app.example", without spaces`
	case strings.ContainsAny(pattern, ", "):
		return "contains a comma or a space: list each origin separately"
	case !hasScheme:
		return fmt.Sprintf("has no scheme: write %q", "https://"+strings.ToLower(strings.TrimLeft(pattern, "/:")))
	case host == "*":
		return `matches nothing: write "*" for all origins (read-only), or "https://*.app.example" for subdomains`
	}
	if end := strings.IndexAny(host, "/?#"); end >= 0 {
		return fmt.Sprintf("has more than a scheme, a host and a port: write %q", strings.ToLower(scheme+"://"+host[:end]))
	}
	if user := strings.LastIndexByte(host, '@'); user >= 0 {
		return fmt.Sprintf("contains a user name: write %q", strings.ToLower(scheme+"://"+host[user+1:]))
	}
	if lower := strings.ToLower(pattern); lower != pattern {
		return fmt.Sprintf("contains uppercase letters, which browsers do not send: write %q", lower)
	}
	if !isScheme(scheme) {
		return `has an invalid scheme: use one such as "https"`
	}
	name, port := splitHost(host)
	if problem := checkName(name); problem != "" {
		return problem
	}
	if port == "" && name != host {
		return fmt.Sprintf("has an empty port: write %q", scheme+"://"+name)
	}
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		return fmt.Sprintf("has the default port, which browsers omit: write %q", scheme+"://"+name)
	}
	return checkPort(port)
}

func isScheme(text string) bool {
	return text != "" && text[0] >= 'a' && text[0] <= 'z' && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

func checkHost(pattern string) (problem string) {
	if _, host, ok := strings.Cut(pattern, "://"); ok {
		host, _, _ = strings.Cut(host, "/")
		return fmt.Sprintf("has a scheme: write %q", host)
	}
	if host, _, ok := strings.Cut(pattern, "/"); ok {
		return fmt.Sprintf("has a path: write %q", host)
	}
	if pattern == "*" {
		return "matches nothing: leave Hosts empty for any host"
	}
	if addr, err := netip.ParseAddr(pattern); err == nil && addr.Is6() {
		return fmt.Sprintf("is an IPv6 address without brackets: write %q", "["+addr.String()+"]")
	}
	name, port := splitHost(strings.ToLower(pattern))
	if problem := checkName(name); problem != "" {
		return problem
	}
	if port == "" && strings.HasSuffix(pattern, ":") {
		return fmt.Sprintf("has an empty port: write %q", strings.TrimSuffix(pattern, ":"))
	}
	return checkPort(port)
}

// checkName checks a host without its port, in lower case.
func checkName(name string) (problem string) {
	base, wild := strings.CutPrefix(name, "*.")
	switch {
	case strings.Contains(base, "*"):
		return `has a "*" that is not the whole first label of the host: write it as in "*.app.example"`
	case strings.HasPrefix(base, "["):
		return checkIPv6(base, wild)
	case strings.ContainsFunc(base, func(r rune) bool { return r > 127 }):
		return `contains non-ASCII letters: write the name as browsers send it, with "xn--"`
	case !isLabels(base):
		return "is not a valid host"
	}
	labels := strings.Split(base, ".")
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return checkIPv4(base, wild)
	}
	return ""
}

// checkIPv4 checks a host that ends with a number, which browsers take for an address.
func checkIPv4(base string, wild bool) (problem string) {
	if addr, err := netip.ParseAddr(base); wild || err != nil || !addr.Is4() {
		return "matches nothing: the host ends with a number but is not an IPv4 address"
	}
	return ""
}

func checkIPv6(base string, wild bool) (problem string) {
	text, closed := strings.CutSuffix(strings.TrimPrefix(base, "["), "]")
	addr, err := netip.ParseAddr(text)
	switch {
	case wild || !closed || err != nil || !addr.Is6() || addr.Zone() != "":
		return "is not a valid host"
	case addr.String() != text:
		return fmt.Sprintf("is not the form that browsers send: write %q", "["+addr.String()+"]")
	}
	return ""
}

func checkPort(port string) (problem string) {
	if port == "" {
		return ""
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "has an invalid port: use a number from 0 to 65535"
	}
	return ""
}

// headersOfBrowsers are those that no script may set.
var headersOfBrowsers = []string{"cookie", "host", "origin", "referer"}

func checkHeaderName(name string) (problem string) {
	const others = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"
	lower := strings.ToLower(name)
	switch {
	case name == "*":
		return "does not match all headers when requests have credentials: list the header names"
	case name == "" || strings.Trim(lower, others) != "":
		return "is not a valid header name"
	case slices.Contains(headersOfBrowsers, lower):
		return "is a header that scripts cannot set: remove it"
	}
	return ""
}
