// Package clients lets the JavaScript scenarios of the conformance suite open sources that a Go client reads. A process
// reads commands from its standard input, a line of JSON each, and writes what the sources receive to its standard output.
package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/eventsource-wasm/eventsource-wasm/wasm/eventsource"
)

// A Client reads the stream at url with client, until ctx is done or it gives up. It calls message for each event, and lost
// when a connection is lost or fails. When lost returns, ctx may be done: as in JavaScript, a listener can close the source
// before anything else happens.
type Client func(ctx context.Context, url string, client *http.Client, message func(Message), lost func())

// A Message is an event as the client delivers it. Data and type need not be UTF-8.
type Message struct {
	Type string // empty for "message"
	Data []byte
}

// A command is a line of the input.
type command struct {
	ID     int    `json:"id"`               // of the source
	URL    string `json:"url"`              // opens it
	Client string `json:"client,omitempty"` // reads it
	Close  bool   `json:"close,omitempty"`
	Done   bool   `json:"done,omitempty"` // the event lost was handled
}

// An event is a line of the output.
type event struct {
	ID    int    `json:"id"`
	Event string `json:"event"` // open, message or lost
	Type  []byte `json:"type,omitempty"`
	Data  []byte `json:"data,omitempty"`
}

// Serve executes commands until they end.
func Serve(clients map[string]Client, commands io.Reader, events io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	out := json.NewEncoder(events)
	tell := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		out.Encode(e) // an error means that the reader has gone, and the commands will end
	}
	sources := map[int]*source{}
	lines := bufio.NewScanner(commands)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("reading a command: %w", err)
		}
		switch s := sources[c.ID]; {
		case s != nil && c.Close:
			s.close()
		case s != nil && c.Done:
			s.heard <- struct{}{}
		case clients[c.Client] == nil:
			return fmt.Errorf("unknown client %q", c.Client)
		default:
			s := &source{id: c.ID, heard: make(chan struct{}, 1), tell: tell}
			s.ctx, s.close = context.WithCancel(ctx)
			sources[c.ID] = s
			go s.run(clients[c.Client], c.URL)
		}
	}
	return lines.Err()
}

// A source is a source that JavaScript has opened.
type source struct {
	id    int
	ctx   context.Context
	close context.CancelFunc
	heard chan struct{} // receives when JavaScript has handled a loss
	tell  func(event)
}

func (s *source) run(client Client, url string) {
	transport := announcer{&http.Transport{}, func() { s.tell(event{ID: s.id, Event: "open"}) }}
	defer transport.CloseIdleConnections()
	client(s.ctx, url, &http.Client{Transport: transport}, func(m Message) {
		s.tell(event{ID: s.id, Event: "message", Type: []byte(m.Type), Data: m.Data})
	}, s.lost)
	s.lost() // the client gave up, unless the source was closed
}

// lost reports a loss, and returns when JavaScript has handled it.
func (s *source) lost() {
	if s.ctx.Err() != nil {
		return
	}
	s.tell(event{ID: s.id, Event: "lost"})
	select {
	case <-s.heard:
	case <-s.ctx.Done():
	}
}

// An announcer reports responses that may be streams. Most clients have no such event, so their scenarios do not depend on
// it.
type announcer struct {
	*http.Transport
	open func()
}

func (a announcer) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := a.Transport.RoundTrip(r)
	if err == nil && response.StatusCode == http.StatusOK {
		a.open()
	}
	return response, err
}

// Ours reads with this module's client.
func Ours(ctx context.Context, url string, client *http.Client, message func(Message), lost func()) {
	source, err := eventsource.New(url, eventsource.Options{
		Transport: eventsource.Transport{Client: client},
		OnError: func(e *eventsource.Error) {
			if e.WillRetry {
				lost()
			}
		},
	})
	if err != nil {
		return
	}
	for e, err := range source.Events(ctx) {
		if err == nil {
			message(Message{e.Type, []byte(e.Data)})
		}
	}
}
