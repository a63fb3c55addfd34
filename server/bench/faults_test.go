package main

import (
	"strings"
	"testing"
)

func TestFaults(t *testing.T) {
	v := judge(contestants[1])
	if !strings.HasPrefix(v.Others, "all, ") {
		t.Errorf("while one client stops reading, the others receive %s", v.Others)
	}
	if !strings.HasSuffix(v.Stalled, " events, then disconnected") {
		t.Errorf("a client that stops reading receives %s", v.Stalled)
	}
	if want := "header Event-Gap: epoch, event: gap; 10 of 10 events kept follow"; v.Unknown != want {
		t.Errorf("the response to an id of another run is %q, want %q", v.Unknown, want)
	}
	if !strings.Contains(v.History, "replayed in") || strings.Contains(v.History, "duplicates") {
		t.Errorf("200,000 events: %s", v.History)
	}
}
