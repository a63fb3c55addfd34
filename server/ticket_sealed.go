package server

import (
	"encoding/binary"
	"errors"
	"time"
)

// A ticket is the content of a ticket. The client has it in encrypted form.
type ticket struct {
	handler uint64        // the number of the handler that issued it
	issued  time.Duration // since the Tickets' start, so that a stepped clock expires nothing
	holder  string        // value of the cookie
	grant   Grant
	topics  []string
}

// A ticketID is the nonce of the encryption of a ticket.
type ticketID [12]byte

var errNoTicket = errors.New("unknown ticket")

// append appends the binary encoding. Topics may contain any byte.
func (t ticket) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, t.handler)
	dst = binary.AppendUvarint(dst, uint64(t.issued))
	expires, err := t.grant.Expires.UTC().MarshalBinary()
	if err != nil {
		panic(err) // cannot fail for UTC
	}
	for _, text := range append([]string{t.holder, string(expires), t.grant.Subject}, t.topics...) {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	return dst
}

// parseTicket is the inverse of append.
func parseTicket(plain []byte) (t ticket, err error) {
	var issued uint64
	var ok bool
	if t.handler, plain, ok = cutUvarint(plain); !ok {
		return ticket{}, errNoTicket
	}
	if issued, plain, ok = cutUvarint(plain); !ok {
		return ticket{}, errNoTicket
	}
	t.issued = time.Duration(issued)
	var texts []string
	for len(plain) > 0 {
		var length uint64
		if length, plain, ok = cutUvarint(plain); !ok || length > uint64(len(plain)) {
			return ticket{}, errNoTicket
		}
		texts = append(texts, string(plain[:length]))
		plain = plain[length:]
	}
	if len(texts) < 3 {
		return ticket{}, errNoTicket
	}
	t.holder, t.grant.Subject, t.topics = texts[0], texts[2], texts[3:]
	if err := t.grant.Expires.UnmarshalBinary([]byte(texts[1])); err != nil {
		return ticket{}, errNoTicket
	}
	return t, nil
}

func cutUvarint(b []byte) (value uint64, rest []byte, ok bool) {
	value, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return value, b[n:], true
}
