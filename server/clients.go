package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
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

// A seat says on whose account a stream is open. Zero fields are on none.
type seat struct {
	network netip.Prefix
	subject string
}

// seat returns that of a request, for as much as is limited.
func (h *Handler) seat(r *http.Request, grant Grant) (s seat) {
	if h.Broker.MaxConnectionsPerIP > 0 {
		s.network = ClientNetwork(ClientIP(r, h.TrustedProxies))
	}
	if h.Broker.MaxConnectionsPerSubject > 0 {
		s.subject = grant.Subject
	}
	return s
}

// seats counts those taken.
type seats struct {
	mu        sync.Mutex
	byNetwork map[netip.Prefix]int
	bySubject map[string]int
}

// take returns the error of the limit that it would exceed, if there is one. A limit of zero or less is none.
func (t *seats) take(s seat, perNetwork, perSubject int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case perNetwork > 0 && s.network.IsValid() && t.byNetwork[s.network] >= perNetwork:
		return errManyFromIP
	case perSubject > 0 && s.subject != "" && t.bySubject[s.subject] >= perSubject:
		return errManyOfSubject
	}
	count(&t.byNetwork, s.network, 1)
	count(&t.bySubject, s.subject, 1)
	return nil
}

func (t *seats) giveUp(s seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count(&t.byNetwork, s.network, -1)
	count(&t.bySubject, s.subject, -1)
}

// count keeps no entry for what is at zero, nor for the zero key.
func count[K comparable](counts *map[K]int, key K, step int) {
	var none K
	if key == none {
		return
	}
	if *counts == nil {
		*counts = map[K]int{}
	}
	if (*counts)[key] += step; (*counts)[key] == 0 {
		delete(*counts, key)
	}
}
