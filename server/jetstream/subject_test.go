package jetstream

import (
	"strings"
	"testing"
)

func TestTopicsAreSubjects(t *testing.T) {
	for topic, want := range map[string]string{
		"a":             "a",
		"orders.new.eu": "orders.new.eu",
		"a/b_c-d:e=f@g": "a/b_c-d:e=f@g",
		"":              "%",
		".":             "%.%",
		"a..b.":         "a.%.b.%",
		"*":             "%2A",
		"a.>":           "a.%3E",
		"50%":           "50%25",
		"a b":           "a%20b",
		"☃":             "%E2%98%83",
		"\x00\r\n\xff":  "%00%0D%0A%FF",
	} {
		got := encodeTopic(topic)
		if got != want {
			t.Errorf("%q encodes to %q, want %q", topic, got, want)
		}
		if back, ok := decodeTopic(got); back != topic || !ok {
			t.Errorf("%q decodes to %q, %v, want %q", got, back, ok, topic)
		}
	}
	for _, subject := range []string{"", "a..b", "a b", "%a", "%4", "%zz", "%41", "a%", "%2a", "☃", "*"} {
		if topic, ok := decodeTopic(subject); ok {
			t.Errorf("%q decodes to %q", subject, topic)
		}
	}
}

func FuzzTopics(f *testing.F) {
	f.Add("a.b")
	f.Add("..☃%\x00")
	f.Fuzz(func(t *testing.T, topic string) {
		subject := encodeTopic(topic)
		if strings.ContainsAny(subject, " \t\r\n*>\x00") || strings.Contains("."+subject+".", "..") {
			t.Errorf("%q encodes to %q, which is not a subject", topic, subject)
		}
		if strings.Count(subject, ".") != strings.Count(topic, ".") {
			t.Errorf("%q encodes to %q, with a different number of tokens", topic, subject)
		}
		if back, ok := decodeTopic(subject); back != topic || !ok {
			t.Errorf("%q encodes to %q, which decodes to %q, %v", topic, subject, back, ok)
		}
	})
}

func TestIsBlock(t *testing.T) {
	for block, want := range map[string]bool{
		"data: x\n\n":                      true,
		"event: e\nretry: 7\ndata: \n\n":   true,
		"data: a\ndata: b\n\n":             true,
		"":                                 false,
		"\n\n":                             false,
		"data: x\n":                        false,
		"data: x":                          false,
		"data: a\n\ndata: b\n\n":           false,
		"id: abc-1\ndata: x\n\n":           false,
		"data: x\nid: abc-1\n\n":           false,
		"data: x\rid: abc-1\n\n":           false,
		": a comment\n\n":                  false,
		"hello":                            false,
		"data: x\n\nHTTP/1.1 200 OK\r\n\n": false,
	} {
		if got := isBlock([]byte(block)); got != want {
			t.Errorf("%q counts as an event: %v", block, got)
		}
	}
}
