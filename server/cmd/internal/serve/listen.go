package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Sockets configures how a program listens.
type Sockets struct {
	// PeerTimeout is how long data sent over TCP may stay unacknowledged, on Linux. Negative means the default of the
	// system.
	PeerTimeout time.Duration

	// Mode is the permissions of Unix sockets. Zero means [DefaultUnixMode].
	Mode Mode
}

// Listen listens on host:port or unix:/path. The error names the flag of the address if another address would help.
func (s Sockets) Listen(ctx context.Context, addr, flag string) (net.Listener, error) {
	if path, is := UnixPath(addr); is {
		listener, err := listenUnix(ctx, path, cmp.Or(s.Mode, DefaultUnixMode))
		if err != nil {
			return nil, fmt.Errorf("%s %w", flag, err)
		}
		return listener, nil
	}
	sockets := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) (err error) {
		if s.PeerTimeout < 0 {
			return nil
		}
		failed := socket.Control(func(fd uintptr) { err = setPeerTimeout(fd, s.PeerTimeout) })
		return cmp.Or(failed, err)
	}}
	listener, err := sockets.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: choose another port with PORT= or %s", addr, flag)
	}
	return listener, err
}

// URL returns the URL of a listener at addr for a browser on this machine. It has the real port, and a host even if addr
// has none. For a Unix socket, it is the address.
func URL(addr string, listening net.Addr, secure bool) string {
	if _, is := UnixPath(addr); is {
		return addr
	}
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	_, port, _ := net.SplitHostPort(listening.String())
	host, _, _ := net.SplitHostPort(reachable(addr))
	return scheme + net.JoinHostPort(host, port)
}

// reachable turns an address to listen on into one to connect to.
func reachable(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = ""
	}
	return net.JoinHostPort(cmp.Or(host, "localhost"), port)
}
