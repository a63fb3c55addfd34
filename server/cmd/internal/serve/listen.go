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

// Listen listens on host:port. What is sent on a connection may go unacknowledged for peerTimeout, on Linux; if it is
// negative, for as long as the system tries. The error that the port is in use says to set another by the flag.
func Listen(ctx context.Context, addr, flag string, peerTimeout time.Duration) (net.Listener, error) {
	sockets := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) (err error) {
		if peerTimeout < 0 {
			return nil
		}
		failed := socket.Control(func(fd uintptr) { err = setPeerTimeout(fd, peerTimeout) })
		return cmp.Or(failed, err)
	}}
	listener, err := sockets.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: choose another port with PORT=, or with %s", addr, flag)
	}
	return listener, err
}

// URL returns what a person on this machine opens, for a listener at addr: the host in place of "all of them", and the
// real port.
func URL(addr string, listening net.Addr, secure bool) string {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	_, port, _ := net.SplitHostPort(listening.String())
	host, _, _ := net.SplitHostPort(Reachable(addr))
	return scheme + net.JoinHostPort(host, port)
}

// Reachable turns an address to listen on into one to connect to.
func Reachable(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = ""
	}
	return net.JoinHostPort(cmp.Or(host, "localhost"), port)
}
