package sse

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// received is an event as a listener sees it.
type received struct{ Type, Data, LastEventID string }

// A result is everything that parsing a stream results in.
type result struct {
	Events           []received
	LastEventID      string
	ReconnectionTime uint64
}

var anyLineEnd = regexp.MustCompile("\r\n|\r|\n")

// interpret is a literal implementation of section 9.2.6 for a whole stream, without regard to speed. Tests compare Parser
// with it.
func interpret(stream string) result {
	text := strings.TrimPrefix(decodeUTF8(stream), "\uFEFF")
	lines := anyLineEnd.Split(text, -1)
	lines = lines[:len(lines)-1] // the last line is unfinished
	r := result{ReconnectionTime: DefaultReconnectionTime}
	var data, eventType, idBuffer string
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			r.LastEventID = idBuffer
			if data != "" {
				r.Events = append(r.Events, received{eventType, strings.TrimSuffix(data, "\n"), idBuffer})
			}
			data, eventType = "", ""
		case name == "event":
			eventType = value
		case name == "data":
			data += value + "\n"
		case name == "id" && !strings.Contains(value, "\x00"):
			idBuffer = value
		case name == "retry" && value == "":
			r.ReconnectionTime = DefaultReconnectionTime
		case name == "retry" && strings.Trim(value, "0123456789") == "":
			if n, err := strconv.ParseUint(value, 10, 64); err == nil {
				r.ReconnectionTime = n
			}
		}
	}
	return r
}

// decodeUTF8 is the Encoding Standard's decoder, a byte at a time.
func decodeUTF8(s string) string {
	var out strings.Builder
	var point, needed, seen int
	lower, upper := 0x80, 0xBF
	for i := 0; i < len(s); {
		c := int(s[i])
		switch {
		case needed == 0:
			i++
			switch {
			case c < 0x80:
				out.WriteByte(byte(c))
			case c >= 0xC2 && c <= 0xDF:
				needed, point = 1, c&0x1F
			case c >= 0xE0 && c <= 0xEF:
				needed, point = 2, c&0xF
				if c == 0xE0 {
					lower = 0xA0
				} else if c == 0xED {
					upper = 0x9F
				}
			case c >= 0xF0 && c <= 0xF4:
				needed, point = 3, c&0x7
				if c == 0xF0 {
					lower = 0x90
				} else if c == 0xF4 {
					upper = 0x8F
				}
			default:
				out.WriteRune(utf8.RuneError)
			}
		case c < lower || c > upper:
			point, needed, seen, lower, upper = 0, 0, 0, 0x80, 0xBF
			out.WriteRune(utf8.RuneError)
		default:
			i++
			lower, upper = 0x80, 0xBF
			point = point<<6 | c&0x3F
			if seen++; seen == needed {
				out.WriteRune(rune(point))
				point, needed, seen = 0, 0, 0
			}
		}
	}
	if needed > 0 {
		out.WriteRune(utf8.RuneError)
	}
	return out.String()
}

// parse feeds the chunks to a Parser.
func parse(p *Parser, chunks ...string) result {
	var r result
	for _, chunk := range chunks {
		p.Feed([]byte(chunk))
		for p.Next() {
			r.Events = append(r.Events, received{string(p.Type()), string(p.Data()), string(p.LastEventID())})
		}
	}
	r.LastEventID = string(p.LastEventID())
	r.ReconnectionTime = p.ReconnectionTime()
	return r
}
