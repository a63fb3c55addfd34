package sse

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestAppend(t *testing.T) {
	for _, tt := range []struct {
		name  string
		event Event
		want  string
	}{
		{"the zero event", Event{}, "data: \n\n"},
		{"all fields", Event{"7", "tick", "a", 10}, "id: 7\nevent: tick\nretry: 10\ndata: a\n\n"},
		{"LF in data", Event{Data: "a\nb"}, "data: a\ndata: b\n\n"},
		{"CR in data", Event{Data: "a\rb"}, "data: a\ndata: b\n\n"},
		{"CRLF in data", Event{Data: "a\r\nb"}, "data: a\ndata: b\n\n"},
		{"LF CR in data", Event{Data: "a\n\rb"}, "data: a\ndata: \ndata: b\n\n"},
		{"data ends in a line end", Event{Data: "a\n"}, "data: a\ndata: \n\n"},
		{"fields in data", Event{Data: "a\n\nid: 1\nevent: b"}, "data: a\ndata: \ndata: id: 1\ndata: event: b\n\n"},
		{"a leading space", Event{Data: " a"}, "data:  a\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Append([]byte("before:\n"), tt.event)
			if err != nil || string(got) != "before:\n"+tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	for _, tt := range []struct {
		event Event
		want  error
	}{
		{Event{ID: "a\n"}, ErrInvalidID},
		{Event{ID: "a\rdata: b"}, ErrInvalidID},
		{Event{ID: "\x00"}, ErrInvalidID},
		{Event{Type: "a\nb"}, ErrInvalidType},
		{Event{Type: "\r"}, ErrInvalidType},
	} {
		got, err := Append([]byte("before"), tt.event)
		if !errors.Is(err, tt.want) || string(got) != "before" {
			t.Errorf("%#v: %q, %v; want %v and nothing appended", tt.event, got, err, tt.want)
		}
		if tt.want != ErrInvalidID {
			continue
		}
		if got, err := AppendID([]byte("before"), tt.event.ID); !errors.Is(err, ErrInvalidID) || string(got) != "before" {
			t.Errorf("AppendID %+q: %q, %v", tt.event.ID, got, err)
		}
	}
}

func TestAppendWithoutEvent(t *testing.T) {
	withID, err := AppendID(nil, "7")
	if err != nil {
		t.Fatal(err)
	}
	stream := string(AppendComment(nil, "a\ndata: b")) + string(AppendRetry(nil, 10)) + string(withID)
	if want := ": a\n: data: b\nretry: 10\nid: 7\n\n"; stream != want {
		t.Errorf("%q, want %q", stream, want)
	}
	want := result{LastEventID: "7", ReconnectionTime: 10}
	if got := parse(new(Parser), stream); !reflect.DeepEqual(got, want) {
		t.Errorf("parsed: %+v, want %+v", got, want)
	}
}

// An event is refused, or parsing its encoding returns it unchanged, except for the line ends of data and for invalid UTF-8.
func FuzzRoundTrip(f *testing.F) {
	f.Add("1", "tick", "a\r\nb", uint64(3))
	f.Add("", "", "", uint64(0))
	f.Add("\uFEFF", "\uFEFF ", " \xE2\x82\n\xAC", uint64(1))
	newlines := strings.NewReplacer("\r\n", "\n", "\r", "\n")
	f.Fuzz(func(t *testing.T, id, eventType, data string, retry uint64) {
		encoded, err := Append(nil, Event{id, eventType, data, retry})
		if err != nil {
			if !errors.Is(err, ErrInvalidID) && !errors.Is(err, ErrInvalidType) {
				t.Fatal(err)
			}
			return
		}
		want := result{
			Events:           []received{{decodeUTF8(eventType), decodeUTF8(newlines.Replace(data)), decodeUTF8(id)}},
			LastEventID:      decodeUTF8(id),
			ReconnectionTime: DefaultReconnectionTime,
		}
		if retry != 0 {
			want.ReconnectionTime = retry
		}
		if got := parse(new(Parser), string(encoded)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\n got %+v\nwant %+v", encoded, got, want)
		}
	})
}
