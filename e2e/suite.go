// Package e2e is a conformance suite for EventSource: scenarios with what the HTML Standard requires, the scripted server
// that they run against, and the page that runs them in any browser. Its tests run all of it in Chromium.
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed harness scenarios differences.json allowed.json
var files embed.FS

// Limits of a [Suite] whose fields are zero.
const (
	DefaultMaxLabs = 16
	DefaultLabAge  = 3 * time.Minute
)

// maxReportBytes bounds a page's report of a run. It is not an option: the largest report is a tenth of it.
const maxReportBytes = 8 << 20

var errManyLabs = errors.New("e2e: too many open labs: close other conformance pages, or raise MaxLabs")

// A Suite serves the page that runs the scenarios in the browser that opens it, at /conformance/. For every run of a
// scenario it opens a lab: four origins on free ports of the page's address, which answer with whatever bytes the scenario
// chooses. So run it on a developer's machine, never on the internet, and serve the page without TLS, as the labs have
// none.
type Suite struct {
	// Dist serves the files of dist/, eventsource.mjs among them. Required.
	Dist http.Handler

	// Script serves a script at /script.js on the origins of a lab, for the page to run the scenarios on. It may be nil.
	Script http.Handler

	// Report gets the report of a page that was opened with "report" in its query, as JSON. It may be nil.
	Report func(report []byte)

	// MaxLabs bounds the labs open at a time; further ones get 503. Zero means 16.
	MaxLabs int

	// LabAge is the time after which a lab is closed if its page has not closed it. Zero means 3 minutes.
	LabAge time.Duration

	mu   sync.Mutex
	labs map[string]*lab
}

// A Result is a page's report of one run of a scenario.
type Result struct {
	Name    string   `json:"name"` // of the scenario
	Trace   []string `json:"trace"`
	Reason  string   `json:"reason"`  // why the implementation may differ here, if it does
	Failure string   `json:"failure"` // empty if the trace is as expected

	// Unfinished reports whether the run took too long, which is a failure that says nothing about the implementation.
	Unfinished bool `json:"unfinished"`
}

// Handler serves /conformance/ and what is below it. Only pages of its own origin can open a lab.
func (s *Suite) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /conformance/", http.StripPrefix("/conformance/", http.FileServerFS(files)))
	mux.HandleFunc("GET /conformance/{$}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "harness/conformance.html")
	})
	mux.HandleFunc("POST /conformance/labs", s.openLab)
	mux.HandleFunc("GET /conformance/labs/{number}/result", s.awaitResult)
	mux.HandleFunc("DELETE /conformance/labs/{number}", s.closeLab)
	mux.HandleFunc("POST /conformance/report", s.takeReport)
	return http.NewCrossOriginProtection().Handler(mux)
}

// pages serves the pages of a lab.
func (s *Suite) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /harness/service.mjs", serveServiceWorker)
	mux.Handle("GET /dist/", http.StripPrefix("/dist/", s.Dist))
	if s.Script != nil {
		mux.Handle("GET /script.js", s.Script)
	}
	return mux
}

// serveServiceWorker serves a service worker with the implementation in it: it can import nothing later.
func serveServiceWorker(w http.ResponseWriter, r *http.Request) {
	script, err := files.ReadFile("harness/service.mjs")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if implementation := r.FormValue("implementation"); strings.ContainsAny(implementation, "/.") {
		specifier, _ := json.Marshal(implementation)
		script = bytes.Replace(script, []byte("'/dist/eventsource.mjs'"), specifier, 1)
	}
	w.Header().Set("Content-Type", "text/javascript")
	w.Write(script)
}

func (s *Suite) openLab(w http.ResponseWriter, r *http.Request) {
	l, err := s.newLab(r)
	switch {
	case errors.Is(err, errManyLabs):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		reply(w, l.describe())
	}
}

func (s *Suite) newLab(r *http.Request) (*lab, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.labs) >= cmp.Or(s.MaxLabs, DefaultMaxLabs) {
		return nil, errManyLabs
	}
	host, ip := addresses(r)
	l, err := newLab(s.pages(), host, ip)
	if err != nil {
		return nil, err
	}
	if s.labs == nil {
		s.labs = map[string]*lab{}
	}
	number := strconv.FormatInt(l.number, 10)
	s.labs[number] = l
	time.AfterFunc(cmp.Or(s.LabAge, DefaultLabAge), func() { s.forget(number) })
	return l, nil
}

// addresses returns the host in the client's request, and the IP address that the request arrived at.
func addresses(r *http.Request) (host, ip string) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	local := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	ip, _, _ = net.SplitHostPort(local.String())
	return host, ip
}

func (s *Suite) awaitResult(w http.ResponseWriter, r *http.Request) {
	l := s.lab(r.PathValue("number"))
	if l == nil {
		http.NotFound(w, r)
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Time{}) // the server's deadline may be shorter than a run
	ctx, cancel := context.WithTimeout(r.Context(), cmp.Or(s.LabAge, DefaultLabAge))
	defer cancel()
	select {
	case r := <-l.reports:
		r.dealtWith()
		reply(w, r.Result)
	case <-ctx.Done():
		reply(w, Result{Failure: "The page never reported.", Unfinished: true})
	}
}

func (s *Suite) closeLab(w http.ResponseWriter, r *http.Request) {
	s.forget(r.PathValue("number"))
	w.WriteHeader(http.StatusNoContent)
}

func (s *Suite) lab(number string) *lab {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.labs[number]
}

func (s *Suite) forget(number string) {
	s.mu.Lock()
	l := s.labs[number]
	delete(s.labs, number)
	s.mu.Unlock()
	if l != nil {
		l.close()
	}
}

func (s *Suite) takeReport(w http.ResponseWriter, r *http.Request) {
	var report json.RawMessage
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReportBytes)).Decode(&report); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.Report != nil {
		s.Report(report)
	}
	w.WriteHeader(http.StatusNoContent)
}

// ReportPage returns a self-contained page that shows a report.
func ReportPage(report []byte) ([]byte, error) {
	page, err := files.ReadFile("harness/conformance.html")
	if err != nil {
		return nil, err
	}
	table, err := files.ReadFile("harness/table.js")
	if err != nil {
		return nil, err
	}
	var inline bytes.Buffer
	inline.WriteString("<script type=\"module\">\n")
	inline.Write(table)
	inline.WriteString("\nnew Table(")
	json.HTMLEscape(&inline, report) // a script ends at the first "</script" in it
	inline.WriteString(");\n</script>")
	const script = `<script type="module" src="harness/conformance.js"></script>`
	return bytes.Replace(page, []byte(script), inline.Bytes(), 1), nil
}
