package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// detachable reports whether the stream may go on without the goroutine of its request. A writer that is a middleware's
// says so by being an [http.Hijacker] itself: one that only has Unwrap may need to see what is written.
func (s *stream) detachable() bool {
	r := s.request
	if !canDetach || s.handler.NoHijack || s.coded != nil || r.TLS != nil || r.ProtoMajor != 1 || r.ProtoMinor == 0 || r.ContentLength != 0 {
		return false
	}
	switch r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr, *net.UnixAddr:
		_, can := s.writer.(http.Hijacker)
		return can
	}
	return false
}

// hijack takes the connection over. Then the stream is detached or, if that fails, goes on with the connection as its
// writer.
func (s *stream) hijack() {
	conn, buffered, err := s.writer.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if s.detach(conn) == nil {
		s.detached = true
		return
	}
	s.hijacked = &hijacked{conn: conn, reader: buffered.Reader}
	s.writer = s.hijacked
	s.control = http.NewResponseController(s.writer)
}

// A hijacked is the writer for a connection that had to be hijacked to see that it cannot be detached: it is not the
// operating system's own, but that of a listener that limits connections, or reads the protocol of a proxy.
type hijacked struct {
	conn   net.Conn
	reader *bufio.Reader
	chunk  chunkWriter
}

func (w *hijacked) Header() http.Header                { return http.Header{} } // it is sent
func (w *hijacked) WriteHeader(int)                    {}
func (w *hijacked) SetWriteDeadline(t time.Time) error { return w.conn.SetWriteDeadline(t) }
func (w *hijacked) Flush()                             {} // there is no buffer

func (w *hijacked) Write(block []byte) (int, error) {
	w.chunk.reset()
	w.chunk.add(block)
	if _, err := w.conn.Write(w.chunk.chunk()); err != nil {
		return 0, err
	}
	return len(block), nil
}

// watch calls gone when the client has gone, as net/http does not tell any more. What the client sends means nothing:
// the head says that this is the connection's last request.
func (w *hijacked) watch(gone context.CancelCauseFunc) {
	io.Copy(io.Discard, w.reader)
	gone(errGone)
}

func (w *hijacked) end(broken bool) {
	if !broken {
		io.WriteString(w.conn, lastChunk)
	}
	w.conn.Close()
}

// errGone ends the stream of a client that closes its side of the connection.
var errGone = errors.New("the client has gone")
