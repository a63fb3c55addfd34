package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The rounds of a workload, in each of which every implementation receives all its events.
const benchRounds = 9

var workloads = []struct {
	name   string
	events int
	chunk  int // bytes that are written at a time
	event  string
}{
	{"small events", 30_000, 16 << 10, "id: %07d\ndata: " + strings.Repeat("x", 100) + "\n\n"},
	{"small events in CRLF", 30_000, 16 << 10, "id: %07d\r\ndata: " + strings.Repeat("x", 100) + "\r\n\r\n"},
	{"text beyond ASCII", 30_000, 16 << 10, "id: %07d\ndata: " + strings.Repeat("é✓😀x", 10) + "\n\n"},
	{"ten lines of data", 10_000, 16 << 10, "id: %07d\n" + strings.Repeat("data: 0123456789\n", 10) + "\n"},
	{"100 kB of JSON", 300, 16 << 10, "id: %07d\ndata: [" + strings.Repeat(`{"name":"value"},`, 6_000) + "0]\n\n"},
}

const benchPage = `<!doctype html><link rel="icon" href="data:,"><script type="module">
	import { EventSource as wasm } from '/dist/eventsource.mjs';
	const implementations = { native: EventSource, wasm };
	const { searchParams } = new URL(location);
	const events = Number(searchParams.get('events'));
	const receive = (name) => new Promise((resolve) => {
		const source = new implementations[name]('/stream');
		let received = 0;
		let length = 0;
		source.onmessage = ({ data }) => {
			length += data.length;
			if (++received === events) { source.close(); resolve(); }
		};
	});
	const mark = (name) => fetch('/mark?name=' + name, { method: 'POST' });
	for (const name in implementations) await receive(name);
	for (let round = 0; round < searchParams.get('rounds'); round++) {
		for (const name in implementations) {
			await mark('');
			await receive(name);
			await mark(name);
		}
	}
	await mark('end');
</script>`

// BenchmarkDelivery measures what an event costs the main thread of a page, from the network to the listener, on the
// native EventSource and on ours, in turns. The browser is one of its own without DevTools, which slow down the native
// EventSource alone.
func BenchmarkDelivery(b *testing.B) {
	if runtime.GOOS != "linux" {
		b.Skip("the CPU time of the browser's threads is read from Linux's /proc")
	}
	for _, w := range workloads {
		b.Run(strings.ReplaceAll(w.name, " ", "_"), func(b *testing.B) {
			var stream bytes.Buffer
			for i := range w.events {
				fmt.Fprintf(&stream, w.event, i)
			}
			var native, ours []float64
			for b.Loop() {
				times := measureDelivery(b, stream.Bytes(), w.events, w.chunk)
				native, ours = append(native, times["native"]...), append(ours, times["wasm"]...)
			}
			b.ReportMetric(median(native), "native-ns/event")
			b.ReportMetric(median(ours), "ours-ns/event")
			ratios := make([]float64, len(ours))
			for i := range ours {
				ratios[i] = ours[i] / native[i]
			}
			b.ReportMetric(median(ratios), "ratio")
			b.ReportMetric(slices.Min(ratios), "least-ratio")
			b.ReportMetric(slices.Max(ratios), "most-ratio")
			b.ReportMetric(0, "ns/op") // of a browser's start, too
		})
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// measureDelivery returns the CPU time that an event took in each round, in nanoseconds.
func measureDelivery(b *testing.B, stream []byte, events, chunk int) map[string][]float64 {
	times := map[string][]float64{}
	ended := make(chan struct{})
	var browser *exec.Cmd
	var begin int64
	mux := http.NewServeMux()
	mux.Handle("GET /dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir(dist))))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, benchPage)
	})
	mux.HandleFunc("POST /mark", func(w http.ResponseWriter, r *http.Request) {
		now := mainThreadTime(browser.Process.Pid)
		switch name := r.FormValue("name"); name {
		case "":
			begin = now
		case "end":
			close(ended)
		default:
			times[name] = append(times[name], float64(now-begin)/float64(events))
		}
	})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for part := range slices.Chunk(stream, chunk) {
			w.Write(part)
			http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	})
	site := httptest.NewServer(mux)
	defer site.Close()
	defer site.CloseClientConnections()
	browser = startPlainBrowser(b, fmt.Sprintf("%s/?events=%d&rounds=%d", site.URL, events, benchRounds))
	defer browser.Wait()
	defer browser.Process.Signal(syscall.SIGTERM) // it ends its renderers, which a kill would leave
	select {
	case <-ended:
	case <-time.After(5 * time.Minute):
		b.Fatal("the page did not end")
	}
	return times
}

func startPlainBrowser(b *testing.B, url string) *exec.Cmd {
	path, err := chromium()
	if err != nil {
		b.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(profile) }) // as far as no late process writes to it
	browser := exec.Command(path, "--headless=new", "--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+profile, url)
	if err := browser.Start(); err != nil {
		b.Fatal(err)
	}
	return browser
}

// mainThreadTime returns the CPU time of the main threads of the browser's renderers, in nanoseconds.
func mainThreadTime(browser int) (total int64) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		command, _ := os.ReadFile(process + "/cmdline")
		status, _ := os.ReadFile(process + "/status")
		if !bytes.Contains(command, []byte("--type=renderer")) || !bytes.Contains(status, fmt.Appendf(nil, "\nPPid:\t%d\n", browser)) {
			continue
		}
		thread, _ := os.ReadFile(filepath.Join(process, "task", filepath.Base(process), "schedstat"))
		if fields := strings.Fields(string(thread)); len(fields) > 0 {
			time, _ := strconv.ParseInt(fields[0], 10, 64)
			total += time
		}
	}
	return total
}
