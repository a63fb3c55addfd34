package server

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// publicationOf returns the publication with these fields. Like a decoder, it accepts only known fields with valid values.
func publicationOf(fields map[string]string) (p Publication, ok bool) {
	for name, value := range fields {
		if name != "topic" && name != "data" && name != "type" && name != "retry" || set(&p, name, value) != nil {
			return p, false
		}
	}
	return p, true
}

// The decoder accepts a JSON body exactly if encoding/json parses it as an object of our fields, and with the same
// values.
func FuzzJSON(f *testing.F) {
	for _, text := range []string{
		`{"topic":"a","data":"x\u2028","type":null,"retry":5000}`, `{"topic":"a","topic":"b"}`, `{"retry":"1"}`, `{"retry":01}`,
		"\ufeff{}", `{"a":1}`, `{"topic":"a",}`, `{"topic":"\ud800"}`, `{} x`, `{"topic":{}}`, `[`, "{\"topic\":\"\x00\"}", ` {"data" : "x" } `, `{"retry":1e3}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := fromJSON([]byte(text))
		want, ok := jsonPublication(text)
		if (err == nil) != ok || ok && got != want {
			t.Errorf("%q: %+v, %v, want %+v, %v", text, got, err, want, ok)
		}
	})
}

func jsonPublication(text string) (p Publication, ok bool) {
	var values map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if !utf8.ValidString(text) || !json.Valid([]byte(text)) || d.Decode(&values) != nil || values == nil || namesIn(text) != len(values) {
		return p, false
	}
	fields := map[string]string{}
	for name, value := range values {
		switch value := value.(type) {
		case nil:
			if _, known := publicationOf(map[string]string{name: "0"}); !known {
				return p, false
			}
		case string:
			fields[name] = value
		case json.Number:
			if name != "retry" {
				return p, false
			}
			fields[name] = value.String()
		default:
			return p, false
		}
	}
	return publicationOf(fields)
}

// namesIn counts the names in an object, including duplicates.
func namesIn(text string) (n int) {
	d := json.NewDecoder(strings.NewReader(text))
	d.Token()
	for d.More() {
		d.Token()
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return -1
		}
		n++
	}
	return n
}

// The decoder accepts a form exactly if net/url parses it and it has only our fields, each at most once. The values are
// the same.
func FuzzForm(f *testing.F) {
	for _, text := range []string{"topic=a&data=x+y%0A&type=&retry=5", "topic=a&topic=b", "a=b", "topic", "=x", "&&", "topic=a;data=b", "%74opic=%zz", "data=%ff", "topic=a=b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := fromForm([]byte(text))
		values, wrong := url.ParseQuery(text)
		fields, ok := map[string]string{}, wrong == nil
		for name, all := range values {
			fields[name], ok = all[0], ok && len(all) == 1
		}
		want, fine := publicationOf(fields)
		if ok = ok && fine; (err == nil) != ok || ok && got != want {
			t.Errorf("%q: %+v, %v, want %+v, %v", text, got, err, want, ok)
		}
	})
}

// A batch decodes like its lines.
func FuzzLines(f *testing.F) {
	for _, text := range []string{"{\"topic\":\"a\"}\n\n{\"data\":\"x\"}\r\n", "\n", "{}\n{\n}", "{}\u2028{}", "[]\n{}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := (&Handler{MaxBatch: 5}).fromLines([]byte(text))
		var want []Publication
		var wrong error
		for line := range strings.SplitSeq(text, "\n") {
			if strings.TrimSpace(line) == "" {
				continue
			}
			p, err := fromJSON([]byte(line))
			if want = append(want, p); err != nil || len(want) > 5 {
				wrong = fmt.Errorf("line %d: %w", len(want), err)
				break
			}
		}
		if fine := wrong == nil && len(want) > 0; (err == nil) != fine || fine && !reflect.DeepEqual(got.publications, want) {
			t.Errorf("%q: %+v, %v, want %+v, %v", text, got.publications, err, want, wrong)
		}
	})
}

// Opening a sealed ticket returns all fields of the grant and the topics, which may contain any bytes.
func FuzzTicket(f *testing.F) {
	f.Add("ada", "a.*", "\xff\x00", "holder", int64(1e17), uint64(1))
	f.Add("", "", "", "", int64(0), uint64(0))
	if fields := reflect.TypeFor[Grant]().NumField(); fields != 2 {
		f.Fatalf("a Grant has %d fields, but a ticket stores two", fields)
	}
	tickets := &Tickets{}
	f.Fuzz(func(t *testing.T, subject, topic, other, holder string, expires int64, handler uint64) {
		want := ticket{handler: handler, holder: holder, grant: Grant{Subject: subject, Expires: time.Unix(expires, 5)}, topics: []string{topic, other}}
		if expires == 0 {
			want.grant.Expires = time.Time{}
		}
		text := tickets.issue(want)
		got, _, err := tickets.open(text)
		want.issued = got.issued
		if same := got.grant.Expires.Equal(want.grant.Expires) && got.grant.Expires.IsZero() == want.grant.Expires.IsZero(); err != nil || !same {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		if got.grant.Expires = want.grant.Expires; !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, want %+v", got, want)
		}
		at := int(handler % uint64(len(text)))
		for _, letter := range []string{"A", "B", "=", "\n", ""} {
			if changed := text[:at] + letter + text[at+1:]; changed != text {
				if got, _, err := tickets.open(changed); err == nil {
					t.Fatalf("a modified ticket was opened: %+v", got)
				}
			}
		}
	})
}

// Parsing the content of a ticket is safe for any input, in case its key becomes known.
func FuzzParseTicket(f *testing.F) {
	f.Add(ticket{handler: 300, topics: []string{"a"}}.append(nil))
	f.Add([]byte{0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, plain []byte) {
		first, err := parseTicket(plain)
		if err != nil {
			return
		}
		if again, err := parseTicket(first.append(nil)); err != nil || !reflect.DeepEqual(normal(again), normal(first)) {
			t.Errorf("%+v, %v, want %+v", again, err, first)
		}
	})
}

func normal(t ticket) ticket {
	t.grant.Expires = t.grant.Expires.UTC()
	if len(t.topics) == 0 {
		t.topics = nil
	}
	return t
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A limit on memory counts at least as many bytes for each entry as it takes. The numbers are those at which maps have just
// grown, or are about to grow.
func TestMemoryLimitsCountEnough(t *testing.T) {
	event := []Publication{{Topic: "a", Event: sse.Event{}}}
	name := func(i int) string { return fmt.Sprint("client ", i) }
	for what, test := range map[string]struct {
		counted int64
		fill    func(n int) any
	}{
		"key": {keyBytes, func(n int) any {
			b := &Broker{IdempotencyMaxBytes: -1, MaxEvents: 1}
			for i := range n {
				if _, err := b.publishOnce(t.Context(), attempt{name(i), name(i), digestOf(name(i))}, nil, event); err != nil {
					t.Fatal(err)
				}
			}
			return b
		}},
		"used ticket": {usedTicketBytes, func(n int) any {
			tickets := &Tickets{MaxBytes: -1}
			for i := range n {
				_, id, err := tickets.open(tickets.issue(ticket{}))
				if err != nil || tickets.markUsed(ticket{}, id, digestOf(name(i))) != nil {
					t.Fatal(err)
				}
			}
			return tickets
		}},
		"topic": {40, func(n int) any {
			names := &topicNames{}
			for i := range n {
				names.admit([]Publication{{Topic: name(i)}}, -1, eventlog.Limits{Events: -1, Bytes: -1, Age: -1})
			}
			return names
		}},
	} {
		for _, n := range []int{7000, 7300, 15_000} {
			before := heapBytes()
			kept := test.fill(n)
			each := (heapBytes() - before) / int64(n)
			runtime.KeepAlive(kept)
			if t.Logf("with %d entries, a %s takes %d bytes", n, what, each); each > test.counted {
				t.Errorf("a %s takes %d bytes, but counts as %d", what, each, test.counted)
			}
		}
	}
}
