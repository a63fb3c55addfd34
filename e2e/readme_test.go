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

// The README's program serves the README's pages, which show what it streams.
func TestREADME(t *testing.T) {
	t.Parallel()
	requireDist(t)
	programs, pages, scripts := readmeSnippets(t, "go"), readmeSnippets(t, "html"), readmeSnippets(t, "js")
	hooks := readmeSnippets(t, "tsx") // TestPackage has it
	if all := len(readmeSnippets(t, ".*?")); len(programs) != 2 || len(pages) != 2 || len(scripts) != 1 || len(hooks) != 1 || all != 6 {
		t.Fatalf("%d programs, %d pages, %d scripts and %d hooks among %d snippets: this test knows two, two, one and one",
			len(programs), len(pages), len(scripts), len(hooks), all)
	}
	pages = append(pages, renewalPage(scripts[0]))
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
	url := "http://" + startProgram(t, folder, programs[1])
	t.Run("client", func(t *testing.T) { runClient(t, url, programs[0]) })
	for _, page := range []string{"/a.html", "/b.html", "/c.html"} {
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

// readmeSnippets returns the README's code in a language.
func readmeSnippets(t *testing.T, language string) (found []string) {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(text, -1) {
		found = append(found, string(match[1]))
	}
	return found
}

// renewalPage shows the time by a token that is renewed once it has been refused.
func renewalPage(script string) string {
	return `<!doctype html><output id="time"></output><script src="eventsource.js"></script><script>
async function getToken({ renew }) { return renew ? "secret" : "expired"; }
` + script + `
source.onmessage = (event) => { document.getElementById("time").value = event.data; };
</script>`
}

// runClient builds a program that follows localhost:8080, and has it print the time that the server at url tells.
func runClient(t *testing.T, url, program string) {
	const address = "http://localhost:8080"
	if !strings.Contains(program, address) {
		t.Fatal("the program does not follow " + address)
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
			t.Errorf("the program prints %q", lines.Text())
		}
	}
	if err := client.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	client.Wait() // it ends with an error that it logs, since it was interrupted
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

// startProgram builds a program that listens on localhost:8080, has it listen on a free port instead, and returns its
// address once it answers there.
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
