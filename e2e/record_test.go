package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

// A record is a stream whose events are kept: who names the last one that it has received gets those after it.
type record struct {
	mu      sync.Mutex
	events  []string
	more    chan struct{} // closed with the next event
	left    chan struct{} // receives when a client has gone
	silence chan struct{} // closed: the connections that there are by then send nothing more
	end     chan struct{} // closed: the connections that there are by then end
	came    chan struct{} // receives when a client has come
	answers chan struct{} // closed: requests are answered
	clients []*client
}

// A client is a connection: what it asked for, and whether it is there.
type client struct {
	request string
	gone    bool
}

func newRecord() *record {
	r := &record{
		more: make(chan struct{}), left: make(chan struct{}, 16), silence: make(chan struct{}), end: make(chan struct{}),
		came: make(chan struct{}, 16), answers: make(chan struct{}),
	}
	close(r.answers)
	return r
}

// hold has requests wait until answer.
func (r *record) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = make(chan struct{})
}

func (r *record) answer() { close(r.answers) }

// endAll ends the responses to the clients that there are.
func (r *record) endAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.end)
	r.end = make(chan struct{})
}

// connections says of each client that has come what it asked for, and whether it has gone.
func (r *record) connections() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.clients {
		if c.gone {
			all = append(all, c.request+", closed")
		} else {
			all = append(all, c.request)
		}
	}
	return all
}

// enter notes a client, and returns what to wait for before it is answered, and what to call when it has gone.
func (r *record) enter(request *http.Request) (answers chan struct{}, leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &client{request: "from the start"}
	if id := request.Header.Get("Last-Event-ID"); id != "" {
		c.request = "after " + id
	}
	r.clients = append(r.clients, c)
	select {
	case r.came <- struct{}{}:
	default: // nobody counts them
	}
	return r.answers, func() {
		r.mu.Lock()
		c.gone = true
		r.mu.Unlock()
		r.left <- struct{}{}
	}
}

func (r *record) publish(data string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, data)
	close(r.more)
	r.more = make(chan struct{})
}

// silenceOld has the connections that are open send nothing more, silently.
func (r *record) silenceOld() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.silence)
	r.silence = make(chan struct{})
}

func (r *record) since(id int) (events []string, more, silence, end chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[id:], r.more, r.silence, r.end
}

func (r *record) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	answers, leave := r.enter(request)
	defer leave()
	select {
	case <-answers:
	case <-request.Context().Done():
		return
	}
	id, _ := strconv.Atoi(request.Header.Get("Last-Event-ID"))
	w.Header().Set("Content-Type", "text/event-stream")
	_, _, silence, end := r.since(id)
	fmt.Fprint(w, "retry: 1\n")
	for {
		events, more, _, _ := r.since(id)
		select {
		case <-silence:
			<-request.Context().Done()
			return
		default:
		}
		for _, data := range events {
			id++
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", id, data)
		}
		http.NewResponseController(w).Flush()
		select {
		case <-more:
		case <-silence:
		case <-end:
			return
		case <-request.Context().Done():
			return
		}
	}
}
