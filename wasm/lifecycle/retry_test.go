package lifecycle

import (
	"slices"
	"testing"
)

// delays loses the connection n times before a response and returns the delays.
func delays(s *Source, n int) []uint32 {
	var got []uint32
	for range n {
		command := lost(s)
		got = append(got, command.Delay)
		for command.Do == Reestablish || command.Do == Wait {
			command = timer(s)
		}
	}
	return got
}

func TestBackoff(t *testing.T) {
	for name, tt := range map[string]struct {
		retry Retry
		want  []uint32
	}{
		"the standard's":        {Retry{}, []uint32{3000, 3000, 3000}},
		"doubled up to a bound": {Retry{Initial: 100, Max: 500, Factor: 2}, []uint32{100, 200, 400, 500, 500}},
		"constant":              {Retry{Initial: 100, Max: 500, Factor: 1}, []uint32{100, 100, 100}},
		"a bound below it":      {Retry{Initial: 100, Max: 50, Factor: 2}, []uint32{50, 50}},
		"beyond a timer":        {Retry{Initial: 1 << 40, Max: 1 << 50, Factor: 2}, []uint32{MaxDelay, MaxDelay}},
	} {
		s := New(url)
		s.Retry = tt.retry
		connect(s)
		if got := delays(s, len(tt.want)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestJitter(t *testing.T) {
	const n = 1000
	for _, jitter := range []float64{0.25, 1} {
		least, most, sum := uint32(1000), uint32(0), uint32(0)
		for seed := range uint32(n) {
			s := New(url)
			s.Retry = Retry{Initial: 1000, Max: 1000, Factor: 1, Jitter: jitter, Seed: seed << 1}
			connect(s)
			delay := delays(s, 2)[1]
			least, most, sum = min(least, delay), max(most, delay), sum+delay
		}
		floor, mean := uint32(1000*(1-jitter)), uint32(1000*(1-jitter/2))
		if least < floor || least > floor+100 || most > 1000 || most < 900 || max(sum/n, mean)-min(sum/n, mean) > 50 {
			t.Errorf("jitter %v: delays from %d to %d, on average %d", jitter, least, most, sum/n)
		}
	}
}

func TestReconnectionTimeIsMinimumDelay(t *testing.T) {
	s := New(url)
	s.Retry = Retry{Initial: 100, Max: 10_000, Factor: 10, Jitter: 0}
	connect(s)
	ok(s)
	receive("retry: 500\n")(s)
	if got, want := delays(s, 3), []uint32{500, 1000, 10_000}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestRetryPolicy(t *testing.T) {
	busy := func(s *Source) Command { return s.Respond(Response{Status: 503, URL: url}) }
	busyFor := func(s *Source) Command { return s.Respond(Response{Status: 503, URL: url, RetryAfter: 1 << 40}) }
	policy := Retry{Initial: 100, Max: 1000, Factor: 2, Attempts: 3, Statuses: []int{503, 204}, ResetAfter: 5000}
	opens := Command{Do: Announce, Delay: 5000}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"a listed status is tried again, up to the limit of attempts", []step{
			{"connect", connect, first, Connecting},
			{"503", busy, again(100, ReasonStatus), Connecting},
			{"timer", timer, first, Connecting},
			{"503", busy, again(200, ReasonStatus), Connecting},
			{"timer", timer, first, Connecting},
			{"503", busy, failed(ReasonStatus), Closed},
			{"timer", timer, nothing, Closed},
		}},
		{"Retry-After may be longer than a timer", []step{
			{"connect", connect, first, Connecting},
			{"503", busyFor, again(MaxDelay, ReasonStatus), Connecting},
			{"timer", timer, wait(MaxDelay), Connecting},
		}},
		{"another status is final", []step{
			{"connect", connect, first, Connecting},
			{"500", respond(500, stream, url), failed(ReasonStatus), Closed},
		}},
		{"204 is final, listed or not", []step{
			{"connect", connect, first, Connecting},
			{"204", respond(204, stream, url), failed(ReasonStatus), Closed},
		}},
		{"a short connection does not reset the count of failures", []step{
			{"connect", connect, first, Connecting},
			{"lost", lost, again(100, ReasonNetwork), Connecting},
			{"timer", timer, first, Connecting},
			{"200", ok, opens, Open},
			{"end", end, again(200, ReasonEnded), Connecting},
			{"timer", timer, first, Connecting},
			{"lost", lost, failed(ReasonNetwork), Closed},
		}},
		{"a stable connection resets the count of failures", []step{
			{"connect", connect, first, Connecting},
			{"lost", lost, again(100, ReasonNetwork), Connecting},
			{"timer", timer, first, Connecting},
			{"200", ok, opens, Open},
			{"stable", timer, nothing, Open},
			{"end", end, again(100, ReasonEnded), Connecting},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(url)
			s.Retry = policy
			for _, step := range tt.steps {
				if got := step.input(s); got != step.want || s.ReadyState() != step.state {
					t.Fatalf("%s: %+v in state %d, want %+v in %d", step.name, got, s.ReadyState(), step.want, step.state)
				}
			}
		})
	}
}

func TestNeedsID(t *testing.T) {
	for name, tt := range map[string]struct {
		before []func(*Source) Command
		want   Command
	}{
		"before any event":       {nil, failed(ReasonNetwork)},
		"no id":                  {[]func(*Source) Command{ok, receive("data: a\n\n")}, failed(ReasonNetwork)},
		"an id":                  {[]func(*Source) Command{ok, receive("id: 1\n\n")}, again(100, ReasonNetwork)},
		"an unfinished event":    {[]func(*Source) Command{ok, receive("id: 1\n")}, failed(ReasonNetwork)},
		"an id that was cleared": {[]func(*Source) Command{ok, receive("id: 1\n\nid\n\n")}, failed(ReasonNetwork)},
		"no attempts left":       {[]func(*Source) Command{ok, receive("id: 1\n\n"), lost, timer}, failed(ReasonNetwork)},
	} {
		s := New(url)
		s.Retry = Retry{Initial: 100, Max: 100, Factor: 1, Attempts: 2, NeedsID: true}
		connect(s)
		for _, input := range tt.before {
			input(s)
		}
		if got := lost(s); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
