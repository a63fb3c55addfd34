package serve

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// socketPath returns a short path, because the path of a socket is limited to about 100 bytes.
func socketPath(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return filepath.Join(folder, "http.sock")
}

func TestUnixMode(t *testing.T) {
	for mode, want := range map[Mode]fs.FileMode{0: 0o660, DefaultUnixMode: 0o660, 0o600: 0o600, 0o666: 0o666, 0o777: 0o777} {
		path := socketPath(t)
		listener, err := Sockets{Mode: mode}.Listen(t.Context(), "unix:"+path, "-addr")
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|want {
			t.Errorf("%v: %v, %v", mode, info.Mode(), err)
		}
		if got := URL("unix:"+path, listener.Addr(), false); got != "unix:"+path {
			t.Errorf("the URL is %q", got)
		}
		listener.Close()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket was not removed: %v", err)
		}
	}
}

func TestModeText(t *testing.T) {
	for text, want := range map[string]Mode{"0660": 0o660, "600": 0o600, "0777": 0o777} {
		var got Mode
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("UnmarshalText(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0999", "1777", "-1", "rw", "0x1ff"} {
		var got Mode
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("UnmarshalText(%q) = %v, want an error", text, got)
		}
	}
	if DefaultUnixMode.String() != "0660" {
		t.Error(DefaultUnixMode)
	}
}

func TestUnixFails(t *testing.T) {
	file, live, folder := socketPath(t), socketPath(t), socketPath(t)
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for path, want := range map[string]string{
		file:                           ErrNotSocket.Error(),
		folder:                         ErrNotSocket.Error(),
		live:                           ErrSocketInUse.Error(),
		"":                             "unix:/run/",
		"@abstract":                    "unix:/run/",
		"/" + strings.Repeat("x", 200): "too long",
		folder + "/missing/socket":     "no such file",
	} {
		_, err := Sockets{Mode: DefaultUnixMode}.Listen(t.Context(), "unix:"+path, "-addr")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "-addr ") {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if conn, err := net.Dial("unix", live); err != nil {
		t.Errorf("the other program's socket: %v", err)
	} else {
		conn.Close()
	}
}

// A datagram socket is not replaced, because it is unknown whether a program reads from it.
func TestDatagramSocketIsKept(t *testing.T) {
	path := socketPath(t)
	other, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := (Sockets{}).Listen(t.Context(), "unix:"+path, "-addr"); err == nil {
		t.Error("the datagram socket was replaced")
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := socketPath(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	listener, err := Sockets{Mode: DefaultUnixMode}.Listen(t.Context(), "unix:"+path, "-addr")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
}

// A socket that another program has created at the same path is not removed.
func TestReplacedSocketIsKept(t *testing.T) {
	path := socketPath(t)
	first, err := Sockets{Mode: DefaultUnixMode}.Listen(t.Context(), "unix:"+path, "-addr")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := Sockets{Mode: DefaultUnixMode}.Listen(t.Context(), "unix:"+path, "-addr")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the second socket: %v", err)
	}
}

// If several programs start at the same time over a stale socket, one of them gets it and keeps it.
func TestConcurrentStartOverStaleSocket(t *testing.T) {
	path := socketPath(t)
	for range 50 {
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		dead.Close()
		var starting sync.WaitGroup
		listeners := make(chan net.Listener, 8)
		for range cap(listeners) {
			starting.Go(func() {
				listener, err := Sockets{Mode: DefaultUnixMode}.Listen(t.Context(), "unix:"+path, "-addr")
				if err == nil {
					listeners <- listener
				} else if !errors.Is(err, ErrSocketInUse) {
					t.Error(err)
				}
			})
		}
		starting.Wait()
		if len(listeners) != 1 {
			t.Fatalf("%d programs listen, want 1", len(listeners))
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		(<-listeners).Close()
	}
}

func TestUnixRequestsAreLocal(t *testing.T) {
	path := socketPath(t)
	listener, err := Sockets{Mode: DefaultUnixMode}.Listen(t.Context(), "unix:"+path, "-addr")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })}
	defer s.Close()
	go Endpoint{Server: s, Listener: listener}.serve()
	transport, host := Client("unix:" + path)
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/", nil)
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || string(text) != "127.0.0.1:0" {
		t.Errorf("the client's address is %q, %v", text, err)
	}
}
