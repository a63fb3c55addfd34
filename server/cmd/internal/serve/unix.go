package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// DefaultUnixMode lets the owner and the group of a Unix socket connect.
const DefaultUnixMode Mode = 0o660

// ErrNotSocket means that the path of the socket is another kind of file.
var ErrNotSocket = errors.New("file exists and is not a socket: remove it, or choose another path")

// ErrSocketInUse means that another program listens on the socket.
var ErrSocketInUse = errors.New("another program is listening on this socket: stop it, or choose another path")

// A Mode is the permissions of a Unix socket. Programs that may write to it may connect. As a flag it is octal.
type Mode fs.FileMode

func (m Mode) String() string { return fmt.Sprintf("%#o", uint32(m)) }

// MarshalText returns the mode in octal.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText takes an octal number up to 0777.
func (m *Mode) UnmarshalText(text []byte) error {
	mode, err := strconv.ParseUint(string(text), 8, 9)
	if err != nil {
		return errors.New("must be an octal number such as 0660")
	}
	*m = Mode(mode)
	return nil
}

// UnixPath returns the path of an address unix:/path.
func UnixPath(addr string) (path string, is bool) { return strings.CutPrefix(addr, "unix:") }

// listenUnix replaces a socket that no program listens on. Closing the listener removes the socket.
func listenUnix(ctx context.Context, path string, mode Mode) (_ net.Listener, err error) {
	switch {
	case path == "" || path[0] == '@' || path[0] == 0:
		return nil, errors.New("unix: requires the path of a file, such as unix:/run/eventsource-server/http.sock")
	case len(path) >= len(syscall.RawSockaddrUnix{}.Path):
		return nil, fmt.Errorf("unix:%s: path is too long: %d bytes, must be less than %d", path, len(path), len(syscall.RawSockaddrUnix{}.Path))
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("unix:%s: %w", path, err)
		}
	}()
	defer lockFolder(filepath.Dir(path))() // so that two starting programs do not remove each other's socket
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	sockets := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) error {
		return socket.Control(closeToAll)
	}}
	l, err := sockets.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	listener := l.(*net.UnixListener)
	listener.SetUnlinkOnClose(false)
	created, err := os.Lstat(path)
	if err == nil {
		err = os.Chmod(path, fs.FileMode(mode))
	}
	if err != nil {
		listener.Close()
		return nil, errors.Join(err, os.Remove(path))
	}
	return &unixListener{UnixListener: listener, path: path, created: created}, nil
}

// removeStale removes the socket of a program that did not exit properly.
func removeStale(ctx context.Context, path string) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return ErrNotSocket
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		conn.Close()
		return ErrSocketInUse
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("cannot tell whether another program is listening on this socket: %w", err)
	}
	return os.Remove(path)
}

// A unixListener removes its socket when it is closed, unless the file has been replaced.
type unixListener struct {
	*net.UnixListener
	path    string
	created fs.FileInfo
	once    sync.Once
}

func (l *unixListener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.created) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}

// asLoopback sets the remote address of requests over a Unix socket to 127.0.0.1, so that trusted proxies and limits
// per address apply.
func asLoopback(routes http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "127.0.0.1:0"
		routes.ServeHTTP(w, r)
	})
}

// Client returns a transport that connects to a server at addr, and the host for its URLs.
func Client(addr string) (transport *http.Transport, base string) {
	transport = &http.Transport{DisableKeepAlives: true}
	if path, is := UnixPath(addr); is {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
		return transport, "localhost"
	}
	return transport, reachable(addr)
}
