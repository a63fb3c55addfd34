package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// Sizes of the fault tests.
const (
	stalledClients = 10      // that read, in addition to the one that stops
	stalledEvents  = 16_000  // of 1,000 bytes: more than any socket's buffers
	historyEvents  = 200_000 // of the benchmark's event size
	publishLimit   = 60 * time.Second
)

// A verdict is what one contestant did in the fault tests.
type verdict struct {
	Contestant string
	Others     string // what clients that read receive while another client does not read
	Stalled    string // what that client receives
	Unknown    string // the response to an id that the server cannot continue from
	History    string // the cost of keeping and replaying it
}

func runFaults(chosen []contestant, out string) error {
	var verdicts []verdict
	for _, c := range chosen {
		if c.name == "raw" {
			continue
		}
		log.Printf("faults: %s", c.name)
		verdicts = append(verdicts, judge(c))
	}
	printVerdicts(os.Stdout, verdicts)
	if out == "" {
		return nil
	}
	text, err := json.MarshalIndent(verdicts, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}

func judge(c contestant) verdict {
	v := verdict{Contestant: c.name}
	if err := with(c, 0, 1000, func(i *instance) error { return v.stall(i) }); err != nil {
		v.Others = cmp.Or(v.Others, err.Error())
	}
	if err := with(c, 1000, dataBytes, func(i *instance) error { return v.surprise(c, i) }); err != nil {
		v.Unknown = err.Error()
	}
	if err := with(c, historyEvents, dataBytes, func(i *instance) error { return v.replay(c, i) }); err != nil {
		v.History = cmp.Or(v.History+" ", "") + err.Error()
	}
	return v
}

func with(c contestant, history, dataBytes int, test func(*instance) error) error {
	i, err := launch(c, history, dataBytes)
	if err != nil {
		return err
	}
	return errors.Join(test(i), i.stop())
}

// stall makes one client stop reading. It checks what the others receive, and then what that client gets when it reads again.
func (v *verdict) stall(i *instance) error {
	fd, err := open(i, i.path, "", 1, 4<<10)
	if err != nil {
		return err
	}
	defer reset(fd)
	stalled := &stream{}
	others, err := dial(i, stalledClients, 1)
	if err != nil {
		return err
	}
	defer others.close()
	if err := others.settle(i); err != nil {
		return err
	}
	if _, err := drain(fd, stalled, others.published); err != nil {
		return fmt.Errorf("the client received nothing before it stopped reading: %w", err)
	}
	v.Others = flood(others, i)
	got, err := drain(fd, stalled, others.published)
	switch {
	case err == nil:
		v.Stalled = "all events"
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
		v.Stalled = fmt.Sprintf("%d events, then disconnected", got)
	case errors.Is(err, os.ErrDeadlineExceeded):
		v.Stalled = fmt.Sprintf("%d events, then nothing, but it stays connected", got)
	default:
		v.Stalled = err.Error()
	}
	return nil
}

// flood publishes while one client does not read, and returns what the others received.
func flood(others *clients, i *instance) string {
	var longest time.Duration
	const window = 100
	for n := 0; n < stalledEvents; n += window {
		begin := time.Now()
		if err := others.window(i, window); err != nil {
			return fmt.Sprintf("nothing more after %d of %d events", n, stalledEvents)
		}
		longest = max(longest, time.Since(begin))
	}
	return fmt.Sprintf("all, longest pause %v", longest.Round(time.Millisecond))
}

// drain reads until the event with that number, and returns how many it read.
func drain(fd int, s *stream, last int) (events int, err error) {
	patience := unix.Timeval{Sec: 3}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return 0, err
	}
	buffer := make([]byte, 64<<10)
	for s.last < last {
		n, err := unix.Read(fd, buffer)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return events, os.ErrDeadlineExceeded
		case err != nil:
			return events, err
		case n == 0:
			return events, io.EOF
		}
		if err := s.receive(buffer[:n], func(int, int64) { events++ }); err != nil {
			return events, err
		}
		if s.state == ended && s.last < last {
			return events, io.EOF
		}
	}
	return events, nil
}

// surprise resumes from an id of another run of the server, and records the response. It then publishes an event, so that
// something arrives even if the server ignores unknown ids.
func (v *verdict) surprise(c contestant, i *instance) error {
	const kept = 10
	if err := publishAll(i, kept); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	published := time.AfterFunc(time.Second, func() { i.publish(1) })
	defer published.Stop()
	path := i.path
	if c.resume != "" {
		path = fmt.Sprintf(c.resume, "unknown")
	}
	next := fmt.Sprintf("%c%010d", mark, kept+1)
	answer, events, err := subscribe(ctx, i, path, c.unknown, func(data string) bool { return strings.Contains(data, next) })
	if err != nil {
		return err
	}
	v.Unknown = describe(answer, events)
	return nil
}

// describe returns the status of a response, its headers that could report a gap, and the number and types of its events.
func describe(answer *http.Response, events []event) string {
	if answer.StatusCode != http.StatusOK {
		return "status " + answer.Status
	}
	var said []string
	for _, name := range []string{"Event-Gap", "Last-Event-ID"} {
		if value := answer.Header.Get(name); value != "" {
			said = append(said, fmt.Sprintf("header %s: %s", name, value))
		}
	}
	replayed := 0
	for _, e := range events[:len(events)-1] {
		if strings.ContainsRune(e.data, mark) {
			replayed++
		} else if e.kind != "" {
			said = append(said, "event: "+e.kind)
		} else if strings.Contains(e.data, `"was_recovering":true`) && !strings.Contains(e.data, `"recovered":true`) {
			said = append(said, "was_recovering and not recovered, in the first answer") // Centrifuge's
		}
	}
	return fmt.Sprintf("%s; %d of 10 events kept follow", cmp.Or(strings.Join(said, ", "), "silence"), replayed)
}

type event struct{ kind, data, id string }

// subscribe requests a stream and reads it until an event's data is the last one wanted.
func subscribe(ctx context.Context, i *instance, path, id string, last func(data string) bool) (*http.Response, []event, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.addr+escape(path), nil)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Accept", "text/event-stream")
	if id != "" {
		request.Header.Set("Last-Event-ID", id)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return answer, nil, nil
	}
	var events []event
	var parser sse.Parser
	for buffer := make([]byte, 64<<10); ; {
		n, err := answer.Body.Read(buffer)
		for parser.Feed(buffer[:n]); parser.Next(); {
			e := event{string(parser.Type()), string(parser.Data()), string(parser.LastEventID())}
			if events = append(events, e); last(e.data) {
				return answer, events, nil
			}
		}
		if err := cmp.Or(err, parser.Err()); err != nil {
			return answer, events, err
		}
	}
}

// publishAll returns when the server has accepted the events.
func publishAll(i *instance, count int) error {
	before, err := i.figures()
	if err != nil {
		return err
	}
	if err := i.publish(count); err != nil {
		return err
	}
	for deadline := time.Now().Add(publishLimit); ; time.Sleep(time.Millisecond) {
		now, err := i.figures()
		if err != nil {
			return err
		}
		if now.Published-before.Published >= count {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("publishes %d events in %v", now.Published-before.Published, publishLimit)
		}
	}
}

// replay fills the history, and resumes a client from the first event.
func (v *verdict) replay(c contestant, i *instance) error {
	first, err := v.first(i)
	if err != nil {
		return err
	}
	if first.id == "" && c.resume == "" {
		v.History = "has no ids"
		return nil
	}
	before, err := idleMemory(i)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := publishAll(i, historyEvents-1); err != nil {
		return err
	}
	published := time.Since(begin)
	after, err := idleMemory(i)
	if err != nil {
		return err
	}
	v.History = fmt.Sprintf("%.0f MB, published in %s", float64(after-before)/1e6, seconds(published))
	path, id := i.path, first.id
	if c.resume != "" {
		path, id = fmt.Sprintf(c.resume, epoch(first.data)), ""
	}
	replayed, err := timeReplay(i, path, id)
	if err != nil {
		return err
	}
	v.History += ", " + replayed
	return nil
}

// first subscribes, publishes the first event, and returns it. For a server without ids, it returns the data before the
// event.
func (v *verdict) first(i *instance) (event, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	published := time.AfterFunc(time.Second, func() { i.publish(1) })
	defer published.Stop()
	answer, events, err := subscribe(ctx, i, i.path, "", func(data string) bool { return strings.ContainsRune(data, mark) })
	if err != nil {
		return event{}, err
	}
	if len(events) == 0 {
		return event{}, errors.New("got status " + answer.Status)
	}
	last := events[len(events)-1]
	if last.id == "" {
		return events[0], nil
	}
	return last, nil
}

// epoch returns the epoch in Centrifuge's first response.
func epoch(answer string) string {
	_, rest, _ := strings.Cut(answer, `"epoch":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func timeReplay(i *instance, path, id string) (string, error) {
	begin := time.Now()
	fd, err := open(i, path, id, 1, 0)
	if err != nil {
		return "", err
	}
	defer reset(fd)
	s := &stream{}
	events, err := drain(fd, s, historyEvents)
	if err != nil {
		return "", fmt.Errorf("replayed up to event %d: %w", s.last, err)
	}
	said := "replayed in " + seconds(time.Since(begin))
	if again := events - (historyEvents - 1); again != 0 {
		said += fmt.Sprintf(", with %d duplicates", again)
	}
	if s.state == ended {
		said += ", then disconnected"
	}
	return said, nil
}

func seconds(d time.Duration) string {
	return fmt.Sprintf("%.2g s", d.Seconds())
}

func printVerdicts(w io.Writer, verdicts []verdict) {
	fmt.Fprintf(w, "| | a client stops reading: the %d others receive | and it receives | an id of another run | %d events of history |\n",
		stalledClients, historyEvents)
	fmt.Fprintf(w, "|%s\n", strings.Repeat(" --- |", 5))
	var row bytes.Buffer
	for _, v := range verdicts {
		row.Reset()
		for _, cell := range []string{v.Contestant, v.Others, v.Stalled, v.Unknown, v.History} {
			fmt.Fprintf(&row, "| %s ", strings.ReplaceAll(cell, "\n", "; "))
		}
		fmt.Fprintf(w, "%s|\n", row.Bytes())
	}
}
