package lifecycle

import "github.com/eventsource-wasm/eventsource-wasm/sse"

// isEventStream reports whether a Content-Type header is an event stream's, whatever its parameters.
func isEventStream(contentType string) bool { return Essence(contentType) == sse.ContentType }

// Essence returns the type and subtype, in lower case, of the MIME type that the Fetch Standard's "extract a MIME type"
// gets from a Content-Type header, or "" if it has none. Of several values the last that is a MIME type counts.
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

// cutValue returns a header's first value and the rest behind its comma. A comma in a quoted string is part of a value.
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

// parseEssence returns type "/" subtype in lower case, or "" if the value is no MIME type. See the MIME Sniffing
// Standard, "parse a MIME type".
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
