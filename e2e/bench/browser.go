package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A browser is a separate Chromium without DevTools. DevTools would make the native EventSource 2.5 times slower, and only
// that one.
type browser struct {
	command *exec.Cmd
	profile string
}

func openBrowser(ctx context.Context, url string, further ...string) (*browser, error) {
	path, err := exec.LookPath(cmp.Or(os.Getenv("CHROMIUM"), "chromium"))
	if err != nil {
		return nil, fmt.Errorf("%w: install it, on Debian, `apt-get install chromium`, or set CHROMIUM to its path", err)
	}
	profile, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	options := append(further, "--headless=new", "--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--ignore-certificate-errors", "--user-data-dir="+profile, url)
	b := &browser{exec.CommandContext(ctx, path, options...), profile}
	b.command.Cancel = func() error { return b.command.Process.Signal(syscall.SIGTERM) } // a kill would leave its renderers
	b.command.WaitDelay = 10 * time.Second
	return b, b.command.Start()
}

func (b *browser) close() {
	b.command.Cancel()
	b.command.Wait()
	os.RemoveAll(b.profile)
}

// renderers returns the browser's renderer processes.
func (b *browser) renderers() (pids []string) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		command, _ := os.ReadFile(process + "/cmdline")
		status, _ := os.ReadFile(process + "/status")
		if bytes.Contains(command, []byte("--type=renderer")) && bytes.Contains(status, fmt.Appendf(nil, "\nPPid:\t%d\n", b.command.Process.Pid)) {
			pids = append(pids, filepath.Base(process))
		}
	}
	return pids
}

// usage returns the processor time of the renderers' main threads, and their resident memory in bytes.
func (b *browser) usage() (processor time.Duration, memory int64, err error) {
	pids := b.renderers()
	if len(pids) == 0 {
		return 0, 0, errors.New("the browser has no page")
	}
	for _, pid := range pids {
		thread, err := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "schedstat"))
		if err != nil {
			return 0, 0, err
		}
		nanoseconds, _ := strconv.ParseInt(strings.Fields(string(thread))[0], 10, 64)
		processor += time.Duration(nanoseconds)
		pages, err := os.ReadFile(filepath.Join("/proc", pid, "statm"))
		if err != nil {
			return 0, 0, err
		}
		resident, _ := strconv.ParseInt(strings.Fields(string(pages))[1], 10, 64)
		memory += resident * int64(os.Getpagesize())
	}
	return processor, memory, nil
}

// site serves a page, the libraries and dist/.
func site(page string, scripts scripts) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, page) })
	mux.HandleFunc("GET /peers.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Write(scripts["peers.js"])
	})
	mux.Handle("GET /dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir("dist"))))
	return mux
}

// serve starts a server for a browser's pages, over HTTP/2 if more than six streams are open at a time.
func serve(handler http.Handler, l link, http2 bool) *httptest.Server {
	site := httptest.NewUnstartedServer(handler)
	site.Listener = l.listen(site.Listener)
	site.EnableHTTP2 = http2
	site.Config.ErrorLog = log.New(io.Discard, "", 0) // a browser that exits breaks its connections
	if http2 {
		site.StartTLS()
	} else {
		site.Start()
	}
	return site
}

// await returns when the page has reported the end.
func await(ctx context.Context, over <-chan error) error {
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Minute):
		return errors.New("the page did not finish")
	}
}
