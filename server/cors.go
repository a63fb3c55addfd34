package server

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// allowOrigin lets the origin of the request read the response, including errors, if the origin is allowed.
func (h *Handler) allowOrigin(header http.Header, r *http.Request) {
	if len(h.AllowedOrigins) == 0 {
		return
	}
	header.Add("Vary", "Origin")
	switch origin := r.Header.Get("Origin"); {
	case h.lists(origin):
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
	case h.anyOrigin():
		header.Set("Access-Control-Allow-Origin", "*")
	default:
		return
	}
	header.Set("Access-Control-Expose-Headers", "Event-Gap, Retry-After, WWW-Authenticate")
}

// preflight answers OPTIONS, with the methods to allow. Without an allowed origin it sends no CORS headers, which means
// no to browsers.
func (h *Handler) preflight(w http.ResponseWriter, r *http.Request, allow string) {
	header := w.Header()
	header.Set("Allow", allow)
	if header.Get("Access-Control-Allow-Origin") != "" {
		methods := "GET, HEAD"
		if h.lists(r.Header.Get("Origin")) {
			methods += ", POST"
		}
		headers := append([]string{"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"}, h.AllowedHeaders...)
		seconds := max(0, cmp.Or(h.PreflightMaxAge, DefaultPreflightMaxAge)/time.Second)
		header.Set("Access-Control-Allow-Methods", methods)
		header.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
		header.Set("Access-Control-Max-Age", strconv.Itoa(int(seconds)))
	}
	w.WriteHeader(http.StatusNoContent)
}

// checkSite rejects a POST from a page of another origin that is not listed. A form needs no preflight, and the browser
// adds cookies to it. So with CORS alone, any page could publish in the name of its visitor.
func (h *Handler) checkSite(r *http.Request) error {
	var protection http.CrossOriginProtection
	if h.lists(r.Header.Get("Origin")) || protection.Check(r) == nil {
		return nil
	}
	return &HTTPError{Status: http.StatusForbidden, Message: "cross-origin request denied"}
}

func (h *Handler) lists(origin string) bool { return MatchOrigin(h.AllowedOrigins, origin) }

func (h *Handler) anyOrigin() bool {
	return slices.Contains(h.AllowedOrigins, "*")
}

// MatchOrigin reports whether patterns, in the form of [Handler.AllowedOrigins], include the origin by name or by a
// pattern for subdomains. The pattern "*" includes none. The origin "null", which sandboxed and local documents send,
// is never included.
func MatchOrigin(patterns []string, origin string) bool {
	if origin == "null" || origin == "*" || origin == "" {
		return false
	}
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if strings.Contains(pattern, "*") {
			return matchSubdomain(pattern, origin)
		}
		return pattern == origin
	})
}

// matchSubdomain matches an origin with a pattern such as https://*.app.example. Both must have the same scheme, and
// the star matches one or more labels. Their characters are checked: none may end the host, or the rest of the pattern
// would not be part of it.
func matchSubdomain(pattern, origin string) bool {
	scheme, base, found := strings.Cut(pattern, "*.")
	if !found || !strings.HasSuffix(scheme, "://") || base == "" || strings.Contains(base, "*") {
		return false
	}
	rest, hasScheme := strings.CutPrefix(origin, scheme)
	labels, hasBase := strings.CutSuffix(rest, "."+base)
	return hasScheme && hasBase && isLabels(labels)
}

// isLabels reports whether the text is a sequence of host labels with dots in between, as browsers write them.
func isLabels(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}
