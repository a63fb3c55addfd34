package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"
)

// The data of an event is a stamp, which clients check, and padding. The stamp is a mark, the event's number in ten digits,
// and its time of publication in nanoseconds since 1970, in nineteen digits.
const (
	mark       = '!'
	stampBytes = 1 + 10 + 1 + 19
	dataBytes  = 98 // with our fields, 128 bytes on the wire
)

func stamp(sequence int, padding string) string {
	return fmt.Sprintf("%c%010d %019d%s", mark, sequence, time.Now().UnixNano(), padding)
}

// Figures are measurements that only the server's process can make.
type figures struct {
	Published int
	Mallocs   uint64
	Error     string
}

// serve runs in the server's process. It prints its address in one line and then executes commands from its standard input:
// "publish N", "figures", to which it responds in JSON, and "free", which returns unused memory to the system and responds
// in the same way. It exits at the end of its input, so that it never outlives its parent process.
func serve(name, protocol string, sendBuffer, history, bytes int) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr()
	if sendBuffer > 0 {
		listener = &bounded{listener.(*net.TCPListener), sendBuffer}
	}
	if listener, err = listen(listener, protocol); err != nil {
		return err
	}
	publish, err := start(name, protocol, history, listener)
	if err != nil {
		return err
	}
	fmt.Println(address)
	return (&process{publish: publish, padding: strings.Repeat("x", bytes-stampBytes)}).obey(os.Stdin)
}

// A bounded listener limits the send buffers of its connections.
type bounded struct {
	*net.TCPListener
	bytes int
}

func (b *bounded) Accept() (net.Conn, error) {
	conn, err := b.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return conn, conn.SetWriteBuffer(b.bytes)
}

func start(name, protocol string, history int, listener net.Listener) (publisher, error) {
	if name == "raw" && protocol != plainHTTP {
		r := &rawSecure{protocol: protocol}
		go r.accept(listener)
		return r.publish, nil
	}
	if name == "raw" {
		r := &raw{}
		go r.accept(listener)
		return r.publish, nil
	}
	for _, c := range contestants {
		if c.name == name && c.serve != nil {
			handler, publish, err := c.serve(history)
			go serveHTTP(listener, protocol, handler)
			return publish, err
		}
	}
	return nil, fmt.Errorf("unknown server %q", name)
}

type process struct {
	publish   publisher
	padding   string
	published atomic.Int64
	failure   atomic.Pointer[string]
}

func (p *process) obey(commands io.Reader) error {
	counts := make(chan int, 1024) // so that a server that blocks its publisher still responds
	go p.publishAll(counts)
	lines := bufio.NewScanner(commands)
	for lines.Scan() {
		var count int
		switch line := lines.Text(); {
		case line == "figures":
			p.answer()
		case line == "free":
			debug.FreeOSMemory()
			p.answer()
		default:
			if _, err := fmt.Sscanf(line, "publish %d", &count); err != nil {
				return errors.New("unknown command: " + line)
			}
			counts <- count
		}
	}
	return lines.Err()
}

func (p *process) publishAll(counts <-chan int) {
	for count := range counts {
		for range count {
			if err := p.publish(stamp(int(p.published.Load())+1, p.padding)); err != nil {
				text := err.Error()
				p.failure.Store(&text)
			}
			p.published.Add(1)
		}
	}
}

func (p *process) answer() {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	f := figures{Published: int(p.published.Load()), Mallocs: memory.Mallocs}
	if failure := p.failure.Load(); failure != nil {
		f.Error = *failure
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		log.Fatal(err)
	}
}
