package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// patience limits every wait for a server. An event that takes longer counts as lost.
const patience = 20 * time.Second

// Clients are connections to one server. A few threads with an epoll each read them, to leave as much of the machine as
// possible to the server. Every client checks that it receives each event once and in order.
type clients struct {
	readers   []*reader
	total     int
	published int

	silent   atomic.Int64 // clients that have received no event
	progress atomic.Int64 // sum of the numbers of every client's last event
	goal     atomic.Int64 // progress when all clients have all events
	complete chan struct{}
	failed   chan error
}

type reader struct {
	clients *clients
	epoll   int
	stop    int // an eventfd
	streams map[int32]*stream
	buffer  []byte
	done    sync.WaitGroup

	hangUp func() error // for clients with a goroutine instead of an epoll

	recording atomic.Bool
	latencies []time.Duration // written by the reader while recording
}

// dial opens total connections. Each source address has its own ports, so they are spread over several addresses.
func dial(i *instance, total, readers int) (*clients, error) {
	if i.protocol == overTLS || i.protocol == http2TLS {
		return dialSecure(i, total)
	}
	c := newClients(total)
	for range readers {
		r, err := newReader(c)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.readers = append(c.readers, r)
	}
	for n := range total {
		fd, err := open(i, i.path, "", byte(1+n/5000), 0)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("connection %d of %d: %w", n+1, total, err), c.close())
		}
		r := c.readers[n%readers]
		r.streams[int32(fd)] = &stream{}
		if err := errors.Join(unix.SetNonblock(fd, true), r.watch(fd)); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	for _, r := range c.readers {
		r.done.Add(1)
		go r.run()
	}
	return c, nil
}

func newClients(total int) *clients {
	c := &clients{total: total, complete: make(chan struct{}, 1), failed: make(chan error, 1)}
	c.silent.Store(int64(total))
	return c
}

// open connects from 127.0.0.host and sends the request. Go's poller does not watch the socket. A receive buffer of 0 bytes
// means the system's default.
func open(i *instance, path, lastEventID string, host byte, receiveBuffer int) (fd int, err error) {
	server, err := netip.ParseAddrPort(i.addr)
	if err != nil {
		return 0, err
	}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if receiveBuffer > 0 {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	err = cmp.Or(err, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, host}}))
	err = cmp.Or(err, unix.Connect(fd, &unix.SockaddrInet4{Addr: server.Addr().As4(), Port: int(server.Port())}))
	if err == nil {
		_, err = unix.Write(fd, request(i, path, lastEventID))
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

func request(i *instance, path, lastEventID string) []byte {
	lines := []string{"GET " + escape(path) + " HTTP/1.1", "Host: " + i.addr, "Accept: text/event-stream"}
	if lastEventID != "" {
		lines = append(lines, "Last-Event-ID: "+lastEventID)
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

func escape(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		panic(err) // paths are the program's own
	}
	u.RawQuery = u.Query().Encode()
	return u.RequestURI()
}

func newReader(c *clients) (*reader, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(err, unix.Close(epoll))
	}
	r := &reader{clients: c, epoll: epoll, stop: stop, streams: map[int32]*stream{}, buffer: make([]byte, 64<<10)}
	return r, r.watch(stop)
}

func (r *reader) watch(fd int) error {
	return unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (r *reader) run() {
	runtime.LockOSThread()
	defer r.done.Done()
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(r.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			r.clients.fail(err)
			return
		}
		progress := 0
		for _, event := range events[:max(0, n)] {
			if event.Fd == int32(r.stop) {
				return
			}
			further, err := r.read(event.Fd)
			if err != nil {
				r.clients.fail(err)
				return
			}
			progress += further
		}
		r.clients.advance(progress)
	}
}

// read returns the number of events that the stream has advanced.
func (r *reader) read(fd int32) (progress int, err error) {
	n, err := unix.Read(int(fd), r.buffer)
	if err == unix.EAGAIN || err == unix.EINTR {
		return 0, nil
	}
	if n <= 0 {
		return 0, fmt.Errorf("the server closed a connection: %w", cmp.Or(err, io.EOF))
	}
	s := r.streams[fd]
	last := s.last
	if err := s.receive(r.buffer[:n], r.record); err != nil {
		return 0, err
	}
	if last == 0 && s.last != 0 {
		r.clients.silent.Add(-1)
	}
	return s.last - last, nil
}

func (r *reader) record(_ int, published int64) {
	if r.recording.Load() {
		r.latencies = append(r.latencies, time.Duration(time.Now().UnixNano()-published))
	}
}

func (c *clients) advance(progress int) {
	if progress > 0 && c.progress.Add(int64(progress)) == c.goal.Load() {
		select {
		case c.complete <- struct{}{}:
		default:
		}
	}
}

func (c *clients) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// settle publishes until every client has received an event, because servers report subscriptions in different ways, if at
// all. It pauses between events, because some servers do not subscribe clients while they publish.
func (c *clients) settle(i *instance) error {
	before := int64(-1)
	for deadline := time.Now().Add(patience); c.silent.Load() > 0; {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d clients receive nothing", c.silent.Load(), c.total)
		}
		if now := c.progress.Load(); now != before {
			before = now
		} else if err := c.publish(i, 1); err != nil {
			return err
		}
		select {
		case err := <-c.failed:
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
	return c.window(i, 1)
}

// window publishes events and waits until every client has received them.
func (c *clients) window(i *instance, events int) error {
	if err := c.publish(i, events); err != nil {
		return err
	}
	return c.wait()
}

func (c *clients) publish(i *instance, events int) error {
	c.published += events
	c.goal.Store(int64(c.total) * int64(c.published))
	return i.publish(events)
}

func (c *clients) wait() error {
	deadline := time.After(patience)
	for c.progress.Load() != c.goal.Load() { // complete may be for an earlier goal
		select {
		case <-c.complete:
		case err := <-c.failed:
			return err
		case <-deadline:
			return fmt.Errorf("%d deliveries are missing after %v", c.goal.Load()-c.progress.Load(), patience)
		}
	}
	return nil
}

// recorded returns the latencies since recording began. No event may be in flight.
func (c *clients) recorded() (latencies []time.Duration) {
	for _, r := range c.readers {
		r.recording.Store(false)
		latencies = append(latencies, r.latencies...)
		r.latencies = nil
	}
	return latencies
}

// close resets the connections, so that no port stays in TIME_WAIT.
func (c *clients) close() error {
	var failed error
	for _, r := range c.readers {
		if r.epoll == 0 {
			if r.hangUp != nil {
				r.hangUp()
			}
			r.done.Wait()
			continue
		}
		unix.Write(r.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		r.done.Wait()
		for fd := range r.streams {
			failed = errors.Join(failed, reset(int(fd)))
		}
		failed = errors.Join(failed, unix.Close(r.stop), unix.Close(r.epoll))
	}
	return failed
}

func reset(fd int) error {
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	return unix.Close(fd)
}
