package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
	"github.com/eventsource-wasm/eventsource-wasm/e2e/browsers"
)

//go:embed page
var pageFiles embed.FS

const (
	// limit ends a scenario that never settles.
	limit = 3 * time.Minute

	// defaultStuckAfter is longer than a page needs to end a run itself, even on a slow machine.
	defaultStuckAfter = 6 * time.Minute
)

var errStuck = errors.New("the browser's page has stopped answering")

// A session runs the jobs of a queue in a browser. It starts a new browser when one stops answering.
type session struct {
	engine browsers.Engine
	stages int // pages at a time
	queue  *queue
	files  http.Handler // of the labs

	stuckAfter time.Duration // the time without a report after which a page is stuck

	// started is called whenever a page has loaded.
	started func(arrival) error
}

// An arrival is the page's report after it has loaded.
type arrival struct {
	Browser   string     `json:"browser"` // its user agent
	Engine    string     `json:"engine"`
	Catalogue []Scenario `json:"catalogue"`
}

func (s *session) run(ctx context.Context) error {
	for {
		err := s.browse(ctx)
		if !errors.Is(err, errStuck) {
			return err
		}
	}
}

// browse runs jobs until all are done or the page is stuck.
func (s *session) browse(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	page := &page{commands: make(chan command, s.stages), arrived: make(chan arrival, 1)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	go http.Serve(listener, page.handler(s.files))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.engine.Show(ctx, "http://"+listener.Addr().String()+"/"); err != nil {
			cancel(err)
		}
	}()
	err = s.work(ctx, cancel, page)
	cancel(nil)
	<-ended
	return err
}

func (s *session) work(ctx context.Context, cancel context.CancelCauseFunc, page *page) error {
	select {
	case a := <-page.arrived:
		if err := s.started(a); err != nil {
			return err
		}
	case <-time.After(s.stuckAfter):
		return fmt.Errorf("the browser did not open its page in %v", s.stuckAfter)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var stages sync.WaitGroup
	for stage := range s.stages {
		stages.Go(func() {
			if err := s.stage(ctx, page, stage); err != nil {
				cancel(err)
			}
		})
	}
	stages.Wait()
	return context.Cause(ctx)
}

// stage runs jobs one after the other.
func (s *session) stage(ctx context.Context, page *page, stage int) error {
	for {
		j, err := s.queue.next(ctx)
		if err != nil || j == nil {
			return err
		}
		if err := s.perform(ctx, page, stage, j); err != nil {
			s.queue.lose(j)
			return err
		}
		s.queue.finish(j)
	}
}

// perform runs the scenarios of a job in one frame, until one fails.
func (s *session) perform(ctx context.Context, page *page, stage int, j *job) error {
	lab, err := e2e.OpenLab(s.files)
	if err != nil {
		return err
	}
	defer lab.Close()
	query := url.Values{
		"file":           {j.file},
		"implementation": {j.implementation.load},
		"patience":       {strconv.Itoa(j.patience)},
		"limit":          {strconv.FormatInt(limit.Milliseconds(), 10)},
	}
	for _, scenario := range j.scenarios {
		query.Add("name", scenario.Name)
	}
	if err := page.show(ctx, stage, lab.Page("/harness/run.html", query)); err != nil {
		return err
	}
	defer page.show(ctx, stage, "")
	for len(j.scenarios) > 0 {
		r, err := s.next(ctx, lab)
		if err != nil {
			return err
		}
		if !s.queue.report(j, r) {
			break
		}
	}
	return nil
}

func (s *session) next(ctx context.Context, lab *e2e.Lab) (e2e.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.stuckAfter, errStuck)
	defer cancel()
	return lab.Next(ctx)
}

// A page is the server's side of page/stages.js.
type page struct {
	commands chan command
	arrived  chan arrival
}

// A command shows a page on a stage, or clears the stage.
type command struct {
	Stage int    `json:"stage"`
	URL   string `json:"url,omitempty"`
}

func (p *page) show(ctx context.Context, stage int, url string) error {
	select {
	case p.commands <- command{stage, url}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *page) handler(files http.Handler) http.Handler {
	own, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the name is a constant
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.FileServerFS(own))
	mux.Handle("GET /stages.js", http.FileServerFS(own))
	mux.HandleFunc("POST /start", p.start)
	mux.HandleFunc("GET /stages", p.stream)
	mux.Handle("GET /", files)
	return http.NewCrossOriginProtection().Handler(mux)
}

func (p *page) start(w http.ResponseWriter, r *http.Request) {
	var a arrival
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case p.arrived <- a:
	default: // the page was opened again
	}
}

// stream sends commands as an event stream.
func (p *page) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for controller := http.NewResponseController(w); ; controller.Flush() {
		select {
		case c := <-p.commands:
			data, _ := json.Marshal(c)
			fmt.Fprintf(w, "data: %s\n\n", data)
		case <-r.Context().Done():
			return
		}
	}
}
