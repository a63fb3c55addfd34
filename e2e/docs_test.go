package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
)

// servePage serves a page of the documentation at /, beside the files that it loads from its own folder.
func servePage(s *site, page string) {
	s.mux.Handle("GET /page/", http.StripPrefix("/page/", http.FileServer(http.Dir(dist))))
	s.mux.HandleFunc("GET /page/{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, strings.Replace(page, "<!doctype html>", `<!doctype html><link rel="icon" href="data:,">`, 1))
	})
}

// only returns the one snippet of a page in a language.
func only(t *testing.T, file, language string) string {
	t.Helper()
	found := snippets(t, file, language)
	if len(found) != 1 {
		t.Fatalf("%s has %d snippets in %s, want 1", file, len(found), language)
	}
	return found[0]
}

// chat answers like the server of a language model. Its last event lacks the blank line.
func chat(posts chan<- string, done bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posts <- r.Header.Get("Content-Type") + " " + r.Header.Get("Authorization") + " " + string(body)
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: {\"text\":\"Because of \"}\n\ndata: {\"text\":\"Rayleigh scattering.\"}\n")
		if done {
			io.WriteString(w, "\ndata: [DONE]\n\n")
			http.NewResponseController(w).Flush()
			<-r.Context().Done() // until the client has closed
		}
	}
}

const asked = "application/json Bearer secret "

func TestLLMPage(t *testing.T) {
	t.Parallel()
	for name, done := range map[string]bool{"[DONE]": true, "the end of the stream": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, posts := openSite(t), make(chan string, 8)
			servePage(s, only(t, "docs/llm.md", "html"))
			s.mux.HandleFunc("POST /chat", chat(posts, done))
			tab := newTab(t)
			messages := chromedp.Console(tab)
			const answer = `document.getElementById('answer').textContent`
			if err := chromedp.Do(tab, chromedp.Navigate(s.URL+"/page/"),
				waitFor(`document.getElementById('form').onsubmit !== null`),
				chromedp.Evaluate[chromedp.Void](`document.getElementById('form').requestSubmit()`),
				waitFor(answer+` === 'Because of Rayleigh scattering.'`)); err != nil {
				t.Fatalf("the page does not show the answer: %v", err)
			}
			if got, want := <-posts, asked+`{"question":"Why is the sky blue?","stream":true}`; got != want {
				t.Errorf("asked %q, want %q", got, want)
			}
			for _, message := range consoleErrors(t, tab, messages) {
				t.Errorf("console: %s", message)
			}
		})
	}
}

func TestLLMProgram(t *testing.T) {
	t.Parallel()
	s, posts := openSite(t), make(chan string, 8)
	s.mux.HandleFunc("POST /chat", chat(posts, false))
	program := only(t, "docs/llm.md", "go")
	const address = "http://localhost:8080"
	if !strings.Contains(program, address) {
		t.Fatal("the program does not request " + address)
	}
	binary := buildProgram(t, t.TempDir(), strings.Replace(program, address, s.URL, 1))
	output, err := exec.CommandContext(t.Context(), binary).CombinedOutput()
	if want := "{\"text\":\"Because of \"}\n{\"text\":\"Rayleigh scattering.\"}\n"; err != nil || string(output) != want {
		t.Errorf("got %v, %q", err, output)
	}
	if got, want := <-posts, asked+`{"question": "Why is the sky blue?", "stream": true}`; got != want || len(posts) > 0 {
		t.Errorf("requests: %q and %d more, want only %q", got, len(posts), want)
	}
}

// The fetch function in docs/testing.md replaces a server.
func TestDocumentedFetch(t *testing.T) {
	t.Parallel()
	requireDist(t)
	nodetest.Require(t)
	script := snippets(t, "docs/testing.md", "js")[0]
	program := fmt.Sprintf("import { EventSource } from %q;\n%s\nsource.onmessage = ({ data }) => (console.log(data), source.close());",
		"./"+dist+"/eventsource.mjs", script)
	output, err := exec.CommandContext(t.Context(), "node", "--input-type=module", "--eval", program).CombinedOutput()
	if err != nil || string(output) != "hello\n" {
		t.Errorf("node: %v, output %q, want \"hello\\n\"", err, output)
	}
}

func TestReconnectingPage(t *testing.T) {
	t.Parallel()
	s, tokens := openSite(t), make(chan string, 8)
	servePage(s, only(t, "docs/reconnecting.md", "html"))
	s.mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Authorization")
		tokens <- token
		if token != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: noon\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	tab := newTab(t)
	if err := chromedp.Do(tab, chromedp.Navigate(s.URL+"/page/"),
		waitFor(`document.getElementById('time').value === 'noon' && document.getElementById('state').textContent === ''`)); err != nil {
		t.Fatalf("the page does not show the time: %v", err)
	}
	if first, second := <-tokens, <-tokens; first != "Bearer expired" || second != "Bearer secret" {
		t.Errorf("Authorization: %q, then %q", first, second)
	}
}
