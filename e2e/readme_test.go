package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// documents are the pages whose snippets are run here, with the numbers of snippets. Other pages are run by the tests of
// their subject.
var documents = map[string]struct{ programs, pages, scripts int }{
	"README.md":         {programs: 1, pages: 1, scripts: 1},
	"docs/headers.md":   {pages: 1, scripts: 1},
	"docs/server.md":    {programs: 1, scripts: 1},
	"docs/go-client.md": {programs: 1},
}

// The documented server serves the documented pages, which show what it streams.
func TestDocumentedPrograms(t *testing.T) {
	t.Parallel()
	requireDist(t)
	for file, want := range documents {
		programs, pages, scripts := snippets(t, file, "go"), snippets(t, file, "html"), snippets(t, file, "js")
		if len(programs) != want.programs || len(pages) != want.pages || len(scripts) != want.scripts {
			t.Errorf("%s has %d programs, %d pages and %d scripts, want %+v", file, len(programs), len(pages), len(scripts), want)
		}
	}
	server := snippets(t, "docs/server.md", "go")[0]
	if snippets(t, "README.md", "go")[0] != server {
		t.Error("README.md and docs/server.md have different servers")
	}
	pages := append(snippets(t, "README.md", "html"), snippets(t, "docs/headers.md", "html")...)
	pages = append(pages, renewalPage(snippets(t, "docs/headers.md", "js")[0]), gapPage(snippets(t, "docs/server.md", "js")[0]))
	folder := t.TempDir()
	site := filepath.Join(folder, "public")
	if err := os.CopyFS(site, os.DirFS(dist)); err != nil {
		t.Fatal(err)
	}
	for i, page := range pages {
		// A browser asks for an icon, which this site lacks.
		page = strings.Replace(page, "<!doctype html>", `<!doctype html><link rel="icon" href="data:,">`, 1)
		if err := os.WriteFile(filepath.Join(site, string(rune('a'+i))+".html"), []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	url := "http://" + startProgram(t, folder, server)
	t.Run("client", func(t *testing.T) { runClient(t, url, snippets(t, "docs/go-client.md", "go")[0]) })
	for _, page := range []string{"/a.html", "/b.html", "/c.html", "/d.html"} {
		tab := newTab(t)
		messages := chromedp.Console(tab)
		if err := chromedp.Do(tab, chromedp.Navigate(url+page), waitFor(`/^\d\d:\d\d:\d\d$/.test(document.getElementById('time').value)`)); err != nil {
			t.Errorf("%s does not show the time: %v", page, err)
		}
		for _, message := range consoleErrors(t, tab, messages) {
			if page != "/c.html" || !strings.Contains(message, "401") {
				t.Errorf("%s: on the console: %s", page, message)
			}
		}
	}
}

// snippets returns a file's code blocks in a language.
func snippets(t *testing.T, file, language string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(text, -1) {
		found = append(found, string(match[1]))
	}
	return found
}

// renewalPage shows the time with a token that is renewed after it was refused.
func renewalPage(script string) string {
	return `<!doctype html><output id="time"></output><script src="eventsource.js"></script><script>
async function getToken({ renew }) { return renew ? "secret" : "expired"; }
` + script + `
source.onmessage = (event) => { document.getElementById("time").value = event.data; };
</script>`
}

// gapPage shows the time after the server has reported a gap for an unknown id.
func gapPage(script string) string {
	return `<!doctype html><output id="time"></output><script src="eventsource.js"></script><script>
const source = new EventSource("/events?topic=clock", { headers: { Authorization: "Bearer secret" }, lastEventId: "unknown" });
function reload() {
  source.onmessage = (event) => { document.getElementById("time").value = event.data; };
}
` + script + `
</script>`
}

// runClient builds a program that follows localhost:8080, points it at url, and checks that it prints the time.
func runClient(t *testing.T, url, program string) {
	const address = "http://localhost:8080"
	if !strings.Contains(program, address) {
		t.Fatal("the program does not connect to " + address)
	}
	client := exec.CommandContext(t.Context(), buildProgram(t, t.TempDir(), strings.Replace(program, address, url, 1)))
	client.Stderr = os.Stderr
	output, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	for range 2 {
		if !lines.Scan() || !regexp.MustCompile(`^\d\d:\d\d:\d\d$`).MatchString(lines.Text()) {
			t.Errorf("the program prints %q, want the time", lines.Text())
		}
	}
	if err := client.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	client.Wait() // interrupted, it logs an error and exits
}

func buildProgram(t *testing.T, folder, program string) (binary string) {
	t.Helper()
	source := filepath.Join(folder, "main.go")
	if err := os.WriteFile(source, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(folder, "program")
	if output, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, output)
	}
	return binary
}

// startProgram builds a program that listens on localhost:8080, starts it on a free port instead, and returns its address
// once it answers.
func startProgram(t *testing.T, folder, program string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	if !strings.Contains(program, `"localhost:8080"`) {
		t.Fatal("the program does not listen on localhost:8080")
	}
	server := exec.Command(buildProgram(t, folder, strings.Replace(program, "localhost:8080", address, 1)))
	server.Dir = folder
	ended := make(chan error, 1)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() { server.Process.Kill() })
	for {
		select {
		case err := <-ended:
			t.Fatalf("the program ended: %v", err)
		default:
		}
		if response, err := http.Head("http://" + address + "/"); err == nil {
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			return address
		}
	}
}
