package eventsource

import (
	"errors"
	"strconv"
	"strings"
)

// The browser build does not link net/http and net/url, because they are large. This file has the parts that it needs.

// checkHeader returns an error if a header is invalid. It names the header but not its value, which may be a secret.
func checkHeader(header map[string][]string) error {
	for name, values := range header {
		if !isToken(name) {
			return errors.New(strconv.Quote(name) + " is not a valid header name")
		}
		for _, value := range values {
			if !isFieldValue(value) {
				return errors.New("the value of " + name + " contains a control character")
			}
		}
	}
	return nil
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// isFieldValue reports whether s is a field value (RFC 9110, section 5.5). Bytes that are not ASCII are allowed.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7F {
			return false
		}
	}
	return true
}

// cloneHeader returns a copy with canonical names, as by [net/http.CanonicalHeaderKey]. It never returns nil.
func cloneHeader(header map[string][]string) map[string][]string {
	clone := make(map[string][]string, len(header)+2)
	for name, values := range header {
		name = canonicalName(name)
		clone[name] = append(clone[name], values...)
	}
	return clone
}

func canonicalName(name string) string {
	canonical := []byte(name)
	upper := true
	for i, c := range canonical {
		switch {
		case upper && c >= 'a' && c <= 'z':
			canonical[i] = c - 'a' + 'A'
		case !upper && c >= 'A' && c <= 'Z':
			canonical[i] = c - 'A' + 'a'
		}
		upper = c == '-'
	}
	return string(canonical)
}

func setDefault(header map[string][]string, name, value string) {
	if _, ok := header[name]; !ok {
		header[name] = []string{value}
	}
}

// removeCredentials removes the headers that net/http removes when a redirect leads to another domain.
func removeCredentials(header map[string][]string) {
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", "Cookie2", "Www-Authenticate"} {
		delete(header, name)
	}
}

// withParam sets a query parameter, or removes it if the value is empty. The rest of the URL stays unchanged.
func withParam(url, name, value string) string {
	url, fragment, hasFragment := strings.Cut(url, "#")
	base, query, _ := strings.Cut(url, "?")
	name = escape(name)
	var pairs []string
	for pair := range strings.SplitSeq(query, "&") {
		if key, _, _ := strings.Cut(pair, "="); pair != "" && key != name {
			pairs = append(pairs, pair)
		}
	}
	if value != "" {
		pairs = append(pairs, name+"="+escape(value))
	}
	if len(pairs) > 0 {
		base += "?" + strings.Join(pairs, "&")
	}
	if hasFragment {
		base += "#" + fragment
	}
	return base
}

// isForbiddenHost reports whether a hostname contains a code point that the URL Standard forbids in a domain, directly or
// percent-encoded, as Chromium leaves some. The hostname must not be an IPv6 address.
func isForbiddenHost(host string) bool {
	for i := 0; i < len(host); i++ {
		c := host[i]
		if c == '%' && i+2 < len(host) {
			if decoded, err := strconv.ParseUint(host[i+1:i+3], 16, 8); err == nil {
				c = byte(decoded)
				i += 2
			}
		}
		if c <= ' ' || c == 0x7F || strings.IndexByte(`#%/:<>?@[\]^|`, c) >= 0 {
			return true
		}
	}
	return false
}

// escape percent-encodes all bytes except the unreserved characters of RFC 3986.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	escaped := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			escaped = append(escaped, c)
		} else {
			escaped = append(escaped, '%', hex[c>>4], hex[c&0xF])
		}
	}
	return string(escaped)
}

// delaySeconds returns the milliseconds of a Retry-After header that is a number of seconds.
func delaySeconds(value string) (milliseconds uint64, ok bool) {
	seconds, err := strconv.ParseUint(value, 10, 32)
	return seconds * 1000, err == nil
}
