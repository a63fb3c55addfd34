package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cmdtest"
)

// A client of the proxy gets the events published at any node of the demo, in one order. When its node is killed, it
// resumes at another one.
func TestDemoCluster(t *testing.T) {
	t.Setenv(cmdtest.AsProgram, "1") // for the nodes
	_, dist := pageAndDist(t)
	url, stop := launch(t, "-cluster", "-dist", dist)
	if response, page := do(t, "GET", url+"/", ""); response.StatusCode != http.StatusOK || !strings.Contains(page, "/dist/eventsource.mjs") {
		t.Errorf("the page: %d", response.StatusCode)
	}
	publish := func(node int, data string) (id string) {
		t.Helper()
		response, text := do(t, "POST", fmt.Sprintf("%s/nodes/%d/events", url, node), "topic=demo&data="+data)
		var answer struct{ ID string }
		if err := json.Unmarshal([]byte(text), &answer); err != nil || response.StatusCode != http.StatusCreated {
			t.Fatalf("node %d: status %d, %s", node, response.StatusCode, text)
		}
		return answer.ID
	}
	id := publish(0, "first")
	follow := func() (node string, stream *bufio.Scanner) {
		t.Helper()
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/events", nil)
		request.Header.Set("Last-Event-ID", id)
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		if gap := response.Header.Get("Event-Gap"); response.StatusCode != http.StatusOK || gap != "" {
			t.Fatalf("status %d, gap %q", response.StatusCode, gap)
		}
		return response.Header.Get("Event-Node"), bufio.NewScanner(response.Body)
	}
	next := func(stream *bufio.Scanner, want string) {
		t.Helper()
		for stream.Scan() {
			if value, ok := strings.CutPrefix(stream.Text(), "id: "); ok {
				id = value
			} else if value, ok := strings.CutPrefix(stream.Text(), "data: "); ok {
				if value != want {
					t.Fatalf("got %q, want %q", value, want)
				}
				return
			}
		}
		t.Fatalf("the stream ended before %q", want)
	}
	node, stream := follow()
	for i := range 6 {
		publish(i%3, fmt.Sprint(i))
	}
	for i := range 6 {
		next(stream, fmt.Sprint(i))
	}
	if response, text := do(t, "POST", url+"/nodes/"+node+"/kill", ""); response.StatusCode != http.StatusNoContent {
		t.Fatalf("kill: %d, %s", response.StatusCode, text)
	}
	for stream.Scan() {
	}
	if response, _ := do(t, "GET", url+"/nodes", ""); response.StatusCode != http.StatusOK {
		t.Errorf("nodes: %d", response.StatusCode)
	}
	killed := int(node[0] - '0')
	publish((killed+1)%3, "while it is killed")
	other, stream := follow()
	if other == node {
		t.Errorf("the killed node %s serves", node)
	}
	next(stream, "while it is killed")
	if response, text := do(t, "POST", url+"/nodes/"+node+"/events", "topic=demo"); response.StatusCode != http.StatusBadGateway {
		t.Errorf("publishing at a killed node: status %d, %s", response.StatusCode, text)
	}
	if response, text := do(t, "POST", url+"/nodes/"+node+"/start", ""); response.StatusCode != http.StatusNoContent {
		t.Fatalf("start: %d, %s", response.StatusCode, text)
	}
	publish(killed, "it is back")
	next(stream, "it is back")
	if response, _ := do(t, "POST", url+"/nodes/3/kill", ""); response.StatusCode != http.StatusNotFound {
		t.Errorf("a node that does not exist: %d", response.StatusCode)
	}
	if response, err := http.Post(url+"/nodes/0/kill", form, strings.NewReader("")); err != nil {
		t.Error(err)
	} else {
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
