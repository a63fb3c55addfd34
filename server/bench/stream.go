package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// A stream parses what one client receives: the head of the response, and the stamps in its body, which may be chunked. It
// takes slices of any size, and copies only what it cannot use yet.
type stream struct {
	state   state
	chunked bool
	left    int    // bytes left in the chunk
	held    []byte // incomplete head, or incomplete size of a chunk
	stamp   []byte // incomplete stamp, perhaps from an earlier chunk
	last    int    // number of the last event, 0 before the first
}

type state int

const (
	inHead state = iota
	inSize
	inBody
	afterChunk
	ended
)

// A receipt is called for each event that a stream receives, with its number and when it was published.
type receipt func(sequence int, published int64)

// receive takes the next bytes of the connection.
func (s *stream) receive(p []byte, on receipt) (err error) {
	for len(p) > 0 && err == nil {
		switch s.state {
		case inHead:
			p, err = s.head(p)
		case inSize:
			p, err = s.size(p)
		case inBody:
			p, err = s.body(p, on)
		case afterChunk: // its CRLF
			n := min(s.left, len(p))
			p, s.left = p[n:], s.left-n
			if s.left == 0 {
				s.state = inSize
			}
		case ended: // only the CRLF of an empty trailer may follow
			if p = bytes.TrimLeft(p, "\r\n"); len(p) > 0 {
				return fmt.Errorf("bytes follow the end of the body: %.40q", p)
			}
		}
	}
	return err
}

// until moves p into s.held up to the delimiter, and reports whether it found the delimiter.
func (s *stream) until(p []byte, delimiter string) (rest []byte, found bool) {
	before := len(s.held)
	s.held = append(s.held, p...)
	from := max(0, before-len(delimiter)+1)
	i := bytes.Index(s.held[from:], []byte(delimiter))
	if i < 0 {
		return nil, false
	}
	end := from + i + len(delimiter)
	s.held = s.held[:end]
	return p[end-before:], true
}

func (s *stream) head(p []byte) (rest []byte, err error) {
	rest, found := s.until(p, "\r\n\r\n")
	if !found {
		return nil, nil
	}
	head := bytes.ToLower(s.held)
	if !bytes.HasPrefix(s.held, []byte("HTTP/1.1 200 ")) {
		return nil, fmt.Errorf("unexpected response %.200q", s.held)
	}
	s.held, s.state = s.held[:0], inBody
	if bytes.Contains(head, []byte("transfer-encoding: chunked")) {
		s.chunked, s.state = true, inSize
	}
	return rest, nil
}

func (s *stream) size(p []byte) (rest []byte, err error) {
	rest, found := s.until(p, "\r\n")
	if !found {
		return nil, nil
	}
	digits, _, _ := bytes.Cut(s.held[:len(s.held)-2], []byte(";"))
	size, err := strconv.ParseUint(string(digits), 16, 31)
	if err != nil {
		return nil, fmt.Errorf("size of a chunk: %w", err)
	}
	s.held, s.left, s.state = s.held[:0], int(size), inBody
	if size == 0 {
		s.state = ended
	}
	return rest, nil
}

func (s *stream) body(p []byte, on receipt) (rest []byte, err error) {
	span := p
	if s.chunked {
		span = p[:min(s.left, len(p))]
		if s.left -= len(span); s.left == 0 {
			s.left, s.state = 2, afterChunk
		}
	}
	return p[len(span):], s.stamps(span, on)
}

func (s *stream) stamps(span []byte, on receipt) error {
	for len(span) > 0 {
		if len(s.stamp) == 0 {
			i := bytes.IndexByte(span, mark)
			if i < 0 {
				return nil
			}
			span = span[i:]
		}
		stamp := span
		n := min(stampBytes-len(s.stamp), len(span))
		if n < stampBytes {
			s.stamp = append(s.stamp, span[:n]...)
			stamp = s.stamp
		}
		span = span[n:]
		if len(stamp) < stampBytes {
			return nil
		}
		s.stamp = s.stamp[:0]
		if err := s.count(stamp[:stampBytes], on); err != nil {
			return err
		}
	}
	return nil
}

// count fails unless the event follows the last one.
func (s *stream) count(stamp []byte, on receipt) error {
	sequence, published := number(stamp[1:11]), number(stamp[12:])
	if sequence < 0 || published < 0 {
		return fmt.Errorf("no stamp: %q", stamp)
	}
	if s.last > 0 && sequence != int64(s.last)+1 {
		return fmt.Errorf("event %d follows event %d", sequence, s.last)
	}
	s.last = int(sequence)
	on(s.last, published)
	return nil
}

func number(digits []byte) (n int64) {
	for _, digit := range digits {
		if digit < '0' || digit > '9' {
			return -1
		}
		n = 10*n + int64(digit-'0')
	}
	return n
}
