package fmt

import (
	"errors"
	standard "fmt"
	"strings"
	"testing"
	"time"
)

// The supported verbs are formatted as in the standard library.
func TestAsStandard(t *testing.T) {
	for _, tt := range []struct {
		format string
		values []any
	}{
		{"plain", nil},
		{"", nil},
		{"100 %%", nil},
		{"a%", nil},
		{"%v, %+v and %s", []any{"a", errors.New("b"), time.Second}},
		{"%s\n\t%s:%d\n", []any{"main.main", "main.go", 7}},
		{"%v %v %v %v", []any{true, nil, -1, uint32(1)}},
		{"%v", nil},
	} {
		want := standard.Sprintf(tt.format, tt.values...)
		if tt.format == "a%" {
			want = "a%" // the standard library reports an error here
		}
		if got := Sprintf(tt.format, tt.values...); got != want {
			t.Errorf("Sprintf(%q): %q, want %q", tt.format, got, want)
		}
		if got := Errorf(tt.format, tt.values...).Error(); got != want {
			t.Errorf("Errorf(%q): %q, want %q", tt.format, got, want)
		}
		var text strings.Builder
		if n, err := Fprintf(&text, tt.format, tt.values...); n != len(want) || err != nil || text.String() != want {
			t.Errorf("Fprintf(%q): %q, %d, %v, want %q", tt.format, text.String(), n, err, want)
		}
	}
	for _, values := range [][]any{{"a", "b"}, {1, 2}, {1, "a", 2}, {errors.New("a"), errors.New("b")}} {
		var got, want strings.Builder
		Fprint(&got, values...)
		standard.Fprint(&want, values...)
		if got.String() != want.String() {
			t.Errorf("Fprint(%v): %q, want %q", values, got.String(), want.String())
		}
	}
}

func TestOtherTypes(t *testing.T) {
	if got := Sprintf("%v", struct{}{}); got != "a value of another type" {
		t.Errorf("Sprintf = %q, want \"a value of another type\"", got)
	}
}

func TestOtherVerbs(t *testing.T) {
	if got := Sprintf("%q and %x", "a", 7); got != "%!q(a) and %!x(7)" {
		t.Errorf("Sprintf = %q, want both verbs marked as unknown", got)
	}
}
