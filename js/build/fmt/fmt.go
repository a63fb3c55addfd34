// Package fmt replaces the standard library's fmt in the browser build. That makes the build a quarter smaller, because the
// standard package links reflect, os and time. It has only what github.com/hack-pad/safejs uses for its errors. A
// dependency that needs more of fmt does not compile. Our own packages do not import fmt.
package fmt

import (
	"io"
	"strconv"
)

// State is the printer state passed to a [Formatter].
type State interface {
	Write(b []byte) (n int, err error)
	Width() (wid int, ok bool)
	Precision() (prec int, ok bool)
	Flag(c int) bool
}

// Formatter is implemented by values with custom formatting. This package never calls it.
type Formatter interface {
	Format(f State, verb rune)
}

// Stringer is implemented by values with a String method.
type Stringer interface {
	String() string
}

type formatted string

func (f formatted) Error() string { return string(f) }

// Errorf returns an error with the text of [Sprintf]. It does not wrap errors.
func Errorf(format string, a ...any) error { return formatted(Sprintf(format, a...)) }

// Fprint writes the values to w, with a space between two that are not strings.
func Fprint(w io.Writer, a ...any) (int, error) {
	var text []byte
	for i, value := range a {
		if i > 0 && !isString(value) && !isString(a[i-1]) {
			text = append(text, ' ')
		}
		text = appendValue(text, value)
	}
	return w.Write(text)
}

// Fprintf writes what [Sprintf] returns to w.
func Fprintf(w io.Writer, format string, a ...any) (int, error) {
	return w.Write([]byte(Sprintf(format, a...)))
}

// Sprintf supports the verbs %s, %d, %v and %+v, which are equivalent, and %%. It formats others as the standard library formats
// unknown verbs. Supporting %q would link the table of printable characters.
func Sprintf(format string, a ...any) string {
	var text []byte
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			text = append(text, format[i])
			continue
		}
		if i++; format[i] == '+' && i+1 < len(format) {
			i++
		}
		switch {
		case format[i] == '%':
			text = append(text, '%')
			continue
		case len(a) == 0:
			text = append(text, "%!"+format[i:i+1]+"(MISSING)"...)
			continue
		case format[i] == 's' || format[i] == 'd' || format[i] == 'v':
			text = appendValue(text, a[0])
		default:
			text = append(appendValue(append(text, '%', '!', format[i], '('), a[0]), ')')
		}
		a = a[1:]
	}
	return string(text)
}

func isString(value any) bool {
	_, ok := value.(string)
	return ok
}

func appendValue(text []byte, value any) []byte {
	switch value := value.(type) {
	case nil:
		return append(text, "<nil>"...)
	case error:
		return append(text, value.Error()...)
	case Stringer:
		return append(text, value.String()...)
	case string:
		return append(text, value...)
	case bool:
		return strconv.AppendBool(text, value)
	case int:
		return strconv.AppendInt(text, int64(value), 10)
	case uint32:
		return strconv.AppendUint(text, uint64(value), 10)
	default:
		return append(text, "a value of another type"...)
	}
}
