package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ClientIP returns the address that a request comes from: that of the connection, unless it is one of the trusted
// proxies. Then it is the one that the proxy added to X-Forwarded-For, unless that is a trusted proxy's too, and so on.
// What a client itself puts there counts for nothing. The zero Addr means that it is not known, as on a Unix socket.
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

// parseIP takes an address with a port, too: some proxies write one.
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

// ClientNetwork returns what counts as one client: an IPv4 address, or a /64 of IPv6, all of which one host may use.
// That of the zero Addr is the zero Prefix.
func ClientNetwork(ip netip.Addr) netip.Prefix {
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, _ := ip.Prefix(bits)
	return prefix
}
