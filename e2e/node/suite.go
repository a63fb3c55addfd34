package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
)

// longest bounds a run of some scenarios in one process, by the age of its lab.
const longest = time.Hour

// many times idle is the limit for a scenario that makes progress.
const many = 10

// grace allows for starting a process on a busy machine, and for ending a scenario.
const grace = 30 * time.Second

// A suite is the scripted server and the location of the runner's files.
type suite struct {
	server *httptest.Server
	root   string        // of the module
	idle   time.Duration // the longest wait for the same thing
	limit  time.Duration // the longest duration of a scenario
	grace  time.Duration // what its process may take in addition
}

// newSuite starts the server. Idle ends a scenario that hangs.
func newSuite(root string, idle time.Duration) *suite {
	handler := &e2e.Suite{
		Dist:    http.FileServer(http.Dir(filepath.Join(root, "dist"))),
		MaxLabs: 64,
		LabAge:  longest,
	}
	return &suite{httptest.NewServer(handler.Handler()), root, idle, many * idle, grace}
}

func (s *suite) close() { s.server.Close() }

// A scenario is an entry of the catalogue.
type scenario struct {
	File         string `json:"file"`
	Name         string `json:"name"`
	Standard     string `json:"standard"`
	Inapplicable string `json:"inapplicable"` // why it does not apply, if it does not
}

// A task is the argument of run.js.
type task struct {
	List    bool     `json:"list,omitempty"`
	File    string   `json:"file,omitempty"`
	Names   []string `json:"names,omitempty"`
	Control string   `json:"control,omitempty"`
	Origin  string   `json:"origin,omitempty"`
	Limit   int64    `json:"limit,omitempty"` // in milliseconds, as is Idle
	Idle    int64    `json:"idle,omitempty"`
	implementation
}

// mark begins run.js's result lines.
const mark = "result: "

// catalogue returns all scenarios, in their order.
func (s *suite) catalogue(ctx context.Context, i implementation) (scenarios []scenario, err error) {
	err = s.start(ctx, task{List: true, implementation: i}, func(line []byte) error {
		return json.Unmarshal(line, &scenarios)
	})
	if err == nil && len(scenarios) == 0 {
		err = errors.New("the runner lists no scenarios")
	}
	return scenarios, err
}

// run runs scenarios of one file in order, and passes each result on. After a failure, the rest runs in a new process.
func (s *suite) run(ctx context.Context, i implementation, file string, names []string, result func(e2e.Result)) error {
	for len(names) > 0 {
		done, err := s.runProcess(ctx, i, file, names, result)
		if err != nil {
			return err
		}
		names = names[done:]
	}
	return nil
}

// runProcess runs scenarios until one fails, and returns the number run, at least one.
func (s *suite) runProcess(ctx context.Context, i implementation, file string, names []string, result func(e2e.Result)) (done int, err error) {
	lab, err := s.openLab(ctx)
	if err != nil {
		return 0, err
	}
	defer s.closeLab(lab)
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	// A process whose thread is blocked cannot end its scenario itself.
	stuck := time.AfterFunc(s.limit+s.grace, cancel)
	defer stuck.Stop()
	t := task{File: file, Names: names, Control: lab.Origins["control"], Origin: lab.Origins["A"], implementation: i}
	t.Limit, t.Idle = s.limit.Milliseconds(), s.idle.Milliseconds()
	err = s.start(running, t, func(line []byte) error {
		var r e2e.Result
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		stuck.Reset(s.limit + s.grace)
		result(r)
		done++
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return done, context.Cause(ctx)
	case done > 0:
		return done, nil // if the process ended early, the next one starts with the scenario that ended it
	case running.Err() != nil:
		result(e2e.Result{Name: names[0], Failure: "The process hangs.", Unfinished: true})
	default:
		result(e2e.Result{Name: names[0], Failure: fmt.Sprintf("The process ended without a result: %v", err)})
	}
	return 1, nil
}

// start runs run.js and passes its results on.
func (s *suite) start(ctx context.Context, t task, result func(line []byte) error) error {
	argument, err := json.Marshal(t)
	if err != nil {
		return err
	}
	command := t.runtime.run(ctx, s.root, string(argument))
	command.WaitDelay = time.Second
	var complaints bytes.Buffer
	command.Stderr = &complaints
	stdout, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	err = readResults(stdout, result)
	if ended := command.Wait(); ended != nil {
		err = fmt.Errorf("%w: %.2000s", ended, complaints.Bytes())
	}
	return err
}

func readResults(r io.Reader, result func(line []byte) error) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if line, ok := bytes.CutPrefix(line, []byte(mark)); ok {
			if err := result(line); err != nil {
				return fmt.Errorf("reading a result: %w", err)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// A lab serves one process. See package e2e.
type lab struct {
	Number  int64             `json:"number"`
	Origins map[string]string `json:"origins"`
}

func (s *suite) openLab(ctx context.Context) (l lab, err error) {
	request, err := http.NewRequestWithContext(ctx, "POST", s.server.URL+"/conformance/labs", nil)
	if err != nil {
		return l, err
	}
	response, err := s.server.Client().Do(request)
	if err != nil {
		return l, fmt.Errorf("opening a lab: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return l, fmt.Errorf("opening a lab: %s", response.Status)
	}
	return l, json.NewDecoder(response.Body).Decode(&l)
}

func (s *suite) closeLab(l lab) {
	request, err := http.NewRequest("DELETE", fmt.Sprintf("%s/conformance/labs/%d", s.server.URL, l.Number), nil)
	if err != nil {
		return
	}
	if response, err := s.server.Client().Do(request); err == nil {
		response.Body.Close()
	}
}

// findRoot returns the root of the module that contains the working directory.
func findRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "e2e", "scenarios")); err == nil {
			return folder, nil
		}
		if parent := filepath.Dir(folder); parent != folder {
			folder = parent
			continue
		}
		return "", errors.New("run this command inside the module: e2e/scenarios was not found")
	}
}
