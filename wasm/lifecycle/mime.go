package lifecycle

import "github.com/eventsource-wasm/eventsource-wasm/sse"

// isEventStream reports whether a Content-Type header is that of an event stream. It ignores parameters.
func isEventStream(contentType string) bool { return Essence(contentType) == sse.ContentType }

// Essence returns the type and subtype, in lower case, of the MIME type that the Fetch Standard's "extract a MIME type" finds
// in a Content-Type header, or "" if there is none. If there are several values, the last valid one counts.
func Essence(contentType string) string {
	essence := ""
	for len(contentType) > 0 {
		var value string
		value, contentType = cutValue(contentType)
		if e := parseEssence(value); e != "" && e != "*/*" {
			essence = e
		}
	}
	return essence
}

// cutValue splits a header at its first comma outside a quoted string.
func cutValue(header string) (value, rest string) {
	quoted := false
	for i := 0; i < len(header); i++ {
		switch c := header[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return header[:i], header[i+1:]
		}
	}
	return header, ""
}

// parseEssence returns type "/" subtype in lower case, or "" if the value is not a MIME type. See "parse a MIME type" in the
// MIME Sniffing Standard.
func parseEssence(value string) string {
	for i := range len(value) {
		if value[i] == ';' {
			value = value[:i]
			break
		}
	}
	for len(value) > 0 && isHTTPWhitespace(value[0]) {
		value = value[1:]
	}
	for len(value) > 0 && isHTTPWhitespace(value[len(value)-1]) {
		value = value[:len(value)-1]
	}
	return essence(value)
}

func essence(value string) string {
	lower := make([]byte, len(value))
	slash := -1
	for i := range len(value) {
		c := value[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == '/' && slash < 0 {
			slash = i
		} else if !isToken(c) {
			return ""
		}
		lower[i] = c
	}
	if slash <= 0 || slash == len(value)-1 {
		return ""
	}
	return string(lower)
}

func isHTTPWhitespace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// isToken reports whether c, in lower case, is an HTTP token code point.
func isToken(c byte) bool {
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z'
}
