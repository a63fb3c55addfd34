package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The protocols in which all contestants can be measured.
const (
	plainHTTP = "http" // HTTP/1.1
	overTLS   = "tls"  // HTTP/1.1 over TLS
	http2TLS  = "h2"   // HTTP/2 over TLS, one connection per client
)

// listen returns the listener, wrapped in TLS if the protocol needs it.
func listen(listener net.Listener, protocol string) (net.Listener, error) {
	if protocol == plainHTTP {
		return listener, nil
	}
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}
	if protocol == http2TLS {
		config.NextProtos = []string{"h2"}
	}
	return tls.NewListener(listener, config), nil
}

// selfSigned returns a certificate of a typical size, on the P-256 curve.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// serveHTTP serves like a typical program for the protocol.
func serveHTTP(listener net.Listener, protocol string, handler http.Handler) error {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(protocol != http2TLS)
	protocols.SetHTTP2(protocol == http2TLS)
	return (&http.Server{Handler: handler, Protocols: protocols}).Serve(listener)
}

// dialSecure opens total TLS connections, each with a goroutine. Unlike dial's, these clients use much of the machine, so
// compare the server's CPU time rather than deliveries per second.
func dialSecure(i *instance, total int) (*clients, error) {
	c := newClients(total)
	begun := make(chan error)
	limit := make(chan struct{}, 64) // concurrent handshakes
	for n := range total {
		r := &reader{clients: c, streams: map[int32]*stream{}}
		c.readers = append(c.readers, r)
		r.done.Go(func() {
			limit <- struct{}{}
			conn, err := r.connect(i, byte(1+n/5000))
			<-limit
			if begun <- err; err == nil {
				r.follow(conn, i)
			}
		})
	}
	var failed error
	for range total {
		if err := <-begun; err != nil {
			failed = err
		}
	}
	if failed != nil {
		return nil, errors.Join(fmt.Errorf("one of %d connections: %w", total, failed), c.close())
	}
	return c, nil
}

func (r *reader) connect(i *instance, host byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}}
	tcp, err := dialer.DialContext(ctx, "tcp", i.addr)
	if err != nil {
		return nil, err
	}
	protocol := map[string]string{overTLS: "http/1.1", http2TLS: "h2"}[i.protocol]
	conn := tls.Client(tcp, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
	r.hangUp = func() error {
		tcp.(*net.TCPConn).SetLinger(0)
		return tcp.Close()
	}
	return conn, conn.HandshakeContext(ctx)
}

// ask requests the stream over HTTP/1.1 or HTTP/2. It returns when the header has arrived. Some servers send it with the
// first event.
func ask(conn net.Conn, i *instance) (io.Reader, *stream, error) {
	if i.protocol == overTLS {
		_, err := conn.Write(request(i, i.path, ""))
		return conn, &stream{}, err
	}
	body, err := requestHTTP2(conn, i)
	return body, &stream{state: inBody}, err
}

// requestHTTP2 uses net/http's client for one stream of the connection.
func requestHTTP2(conn net.Conn, i *instance) (io.Reader, error) {
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		Protocols:      protocols,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	answer, err := transport.RoundTrip(must(http.NewRequest(http.MethodGet, "https://"+i.addr+escape(i.path), nil)))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("got status %s", answer.Status)
	}
	return answer.Body, nil
}

func must(request *http.Request, err error) *http.Request {
	if err != nil {
		panic(err) // addresses and paths are the program's own
	}
	return request
}

// follow reads a stream until hangUp.
func (r *reader) follow(conn net.Conn, i *instance) {
	body, s, err := ask(conn, i)
	if err != nil {
		r.clients.fail(err)
		return
	}
	buffer := make([]byte, 4<<10)
	for {
		n, err := body.Read(buffer)
		last := s.last
		if failed := s.receive(buffer[:n], r.record); failed != nil {
			err = failed
		}
		if last == 0 && s.last != 0 {
			r.clients.silent.Add(-1)
		}
		r.clients.advance(s.last - last)
		if err != nil {
			r.clients.fail(fmt.Errorf("a connection ended: %w", err))
			return
		}
	}
}

// rawSecure is raw over TLS: each event is one record per connection, with one frame in HTTP/2. It uses as many goroutines
// as there are processors.
type rawSecure struct {
	protocol string
	mu       sync.Mutex
	conns    []net.Conn
}

func (r *rawSecure) accept(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			greet := greetHTTP1
			if r.protocol == http2TLS {
				greet = greetHTTP2
			}
			if err := greet(conn); err != nil {
				conn.Close()
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, conn)
			r.mu.Unlock()
			io.Copy(io.Discard, conn) // the client's window updates; the benchmark never fills a window
		}()
	}
}

// streamID is the stream of a connection's first request.
const streamID = 1

func greetHTTP2(conn net.Conn) error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				if err := framer.WriteSettingsAck(); err != nil {
					return err
				}
			}
		case *http2.HeadersFrame:
			var head bytes.Buffer
			encoder := hpack.NewEncoder(&head)
			encoder.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			encoder.WriteField(hpack.HeaderField{Name: "content-type", Value: "text/event-stream"})
			return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: streamID, BlockFragment: head.Bytes(), EndHeaders: true})
		}
	}
}

func (r *rawSecure) publish(data string) error {
	block := fmt.Sprintf("data: %s\n\n", data)
	packet := fmt.Appendf(nil, "%x\r\n%s\r\n", len(block), block)
	if r.protocol == http2TLS {
		var frame bytes.Buffer
		if err := http2.NewFramer(&frame, nil).WriteData(streamID, false, []byte(block)); err != nil {
			return err
		}
		packet = frame.Bytes()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	writers := runtime.GOMAXPROCS(0)
	results := make(chan error, writers)
	for i := range writers {
		go func() {
			var failed error
			for _, conn := range r.conns[i*len(r.conns)/writers : (i+1)*len(r.conns)/writers] {
				if _, err := conn.Write(packet); err != nil {
					failed = err
				}
			}
			results <- failed
		}()
	}
	var failed error
	for range writers {
		failed = errors.Join(failed, <-results)
	}
	return failed
}
