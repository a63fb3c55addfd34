package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

// A record is a stream that keeps its events: a client that sends Last-Event-ID gets the events after it.
type record struct {
	mu      sync.Mutex
	events  []string
	more    chan struct{} // closed with the next event
	left    chan struct{} // receives when a client leaves
	silence chan struct{} // closed: connections open at that time send nothing more
	end     chan struct{} // closed: connections open at that time end
	came    chan struct{} // receives when a client arrives
	answers chan struct{} // closed: requests are answered
	clients []*client
}

// A client is a connection: what it requested, and whether it is open.
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

// hold makes requests wait for answer.
func (r *record) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = make(chan struct{})
}

func (r *record) answer() { close(r.answers) }

// endAll ends all open responses.
func (r *record) endAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.end)
	r.end = make(chan struct{})
}

// connections lists what each client so far requested, and whether it has left.
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

// enter adds a client. It returns a channel to wait for before the answer, and a function to call when the client leaves.
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
	default: // the test does not count them
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

// silenceOld makes the open connections send nothing more, without closing them.
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
