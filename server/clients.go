package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ClientIP returns the client address of a request. It is the address of the connection, unless that is a trusted
// proxy. Then it is the address that the proxy added to X-Forwarded-For, unless that is also a trusted proxy, and so
// on. Values sent by the client itself are ignored. The zero Addr means that the address is unknown, for example over a
// Unix socket.
func ClientIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	ip, err := parseIP(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	forwarded := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	for forwarded != "" && isIn(ip, trusted) {
		comma := strings.LastIndexByte(forwarded, ',')
		added, err := parseIP(strings.TrimSpace(forwarded[comma+1:]))
		if err != nil {
			break // and the proxy that wrote it stands for all behind it
		}
		ip, forwarded = added, forwarded[:max(comma, 0)]
	}
	return ip
}

// parseIP also accepts an address with a port, because some proxies write one.
func parseIP(text string) (netip.Addr, error) {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone(""), nil
	}
	ip, err := netip.ParseAddr(text)
	return ip.Unmap().WithZone(""), err
}

func isIn(ip netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(network netip.Prefix) bool { return network.Contains(ip) })
}

// ClientNetwork returns the network that counts as one client: a single IPv4 address, or a /64 of IPv6, since one host
// can use all of it. For the zero Addr, it is the zero Prefix.
func ClientNetwork(ip netip.Addr) netip.Prefix {
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, _ := ip.Prefix(bits)
	return prefix
}
