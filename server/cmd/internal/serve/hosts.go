package serve

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// flagOf names the flags that fields of [server.Handler] are set by.
var flagOf = strings.NewReplacer("AllowedOrigins: ", "-cors: ", "AllowedHeaders: ", "-cors-headers: ", "Hosts: ", "-hosts: ")

// Validate is [server.Handler.Validate], in one line and with the names of flags.
func Validate(h *server.Handler) error {
	err := h.Validate()
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(flagOf.Replace(err.Error()), "\n", "; "))
}

// LocalHosts lists the hosts by which this machine's browsers know a server that listens there, and the one in addr.
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

// OnlyHosts answers 421 to requests for other hosts. Without it, a page of another site whose name was made to mean this
// machine's address could use the server as if it were its own.
func OnlyHosts(hosts []string, routes http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !server.MatchHost(hosts, r.Host) {
			http.Error(w, "This server only serves "+strings.Join(hosts, ", ")+". Add other hosts with -hosts.", http.StatusMisdirectedRequest)
			return
		}
		routes.ServeHTTP(w, r)
	})
}
