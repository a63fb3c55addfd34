package jetstream

import (
	"encoding/hex"
	"strings"
)

// A topic becomes the end of a subject, token by token, so that dots mean the same in both. Bytes that a subject must not
// contain, and wildcards, are encoded as %XX, and an empty token as "%".
const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_/:=@~+,;!&'()"

var isPlain = func() (is [256]bool) {
	for _, c := range []byte(plain + ".") {
		is[c] = true
	}
	return is
}()

func encodeTopic(topic string) string {
	if isSubject(topic) {
		return topic // most topics need no encoding
	}
	var b strings.Builder
	for i, token := range strings.Split(topic, ".") {
		if i > 0 {
			b.WriteByte('.')
		}
		if token == "" {
			b.WriteByte('%')
		}
		for _, c := range []byte(token) {
			if isPlain[c] {
				b.WriteByte(c)
			} else {
				b.WriteByte('%')
				b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{c})))
			}
		}
	}
	return b.String()
}

func isSubject(topic string) bool {
	for i := range len(topic) {
		if !isPlain[topic[i]] {
			return false
		}
	}
	return topic != "" && !strings.HasPrefix(topic, ".") && !strings.HasSuffix(topic, ".") && !strings.Contains(topic, "..")
}

// decodeTopic returns false for a subject that encodeTopic cannot return.
func decodeTopic(subject string) (string, bool) {
	if !strings.Contains(subject, "%") {
		return subject, isSubject(subject)
	}
	var b strings.Builder
	for i, token := range strings.Split(subject, ".") {
		if i > 0 {
			b.WriteByte('.')
		}
		if token == "%" {
			continue
		}
		for len(token) > 0 {
			literal, escaped, found := strings.Cut(token, "%")
			b.WriteString(literal)
			if !found {
				break
			}
			if len(escaped) < 2 {
				return "", false
			}
			c, err := hex.DecodeString(escaped[:2])
			if err != nil {
				return "", false
			}
			b.Write(c)
			token = escaped[2:]
		}
	}
	topic := b.String()
	return topic, encodeTopic(topic) == subject
}
