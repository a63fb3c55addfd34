package serve

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// flagOf maps fields of [server.Handler] to flags.
var flagOf = strings.NewReplacer("AllowedOrigins: ", "-cors: ", "AllowedHeaders: ", "-cors-headers: ", "Hosts: ", "-hosts: ")

// Validate is [server.Handler.Validate], in one line and with the names of flags.
func Validate(h *server.Handler) error {
	err := h.Validate()
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(flagOf.Replace(err.Error()), "\n", "; "))
}

// LocalHosts lists the hosts by which browsers on this machine reach a server that listens there, and the host in addr.
func LocalHosts(addr string, listening net.Addr) (hosts []string) {
	_, port, _ := net.SplitHostPort(listening.String())
	named, _, _ := net.SplitHostPort(addr)
	for _, host := range []string{"localhost", "127.0.0.1", "::1", named} {
		if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
			hosts = append(hosts, net.JoinHostPort(host, port))
		}
	}
	return hosts
}

// OnlyHosts rejects requests to other hosts with 421. Without it, a page of another site whose name points to this
// machine could use the server like its own.
func OnlyHosts(hosts []string, routes http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !server.MatchHost(hosts, r.Host) {
			http.Error(w, "This server only serves "+strings.Join(hosts, ", ")+". Add other hosts with -hosts.", http.StatusMisdirectedRequest)
			return
		}
		routes.ServeHTTP(w, r)
	})
}
