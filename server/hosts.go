package server

import (
	"slices"
	"strings"
)

// MatchHost reports whether hosts, in the form of [Handler.Hosts], include the host of a request. An empty list
// includes none. Case does not matter. If hosts have the port 80 or 443, a request without a port matches, because
// browsers omit these ports.
func MatchHost(hosts []string, host string) bool {
	name, port := splitHost(strings.ToLower(host))
	return slices.ContainsFunc(hosts, func(listed string) bool {
		listedName, listedPort := splitHost(strings.ToLower(listed))
		return matchName(listedName, name) && matchPort(listedPort, port)
	})
}

func matchName(listed, name string) bool {
	if base, ok := strings.CutPrefix(listed, "*."); ok {
		labels, has := strings.CutSuffix(name, "."+base)
		return has && isLabels(labels)
	}
	return listed == name && name != ""
}

func matchPort(listed, port string) bool {
	return listed == "" || listed == port || port == "" && (listed == "80" || listed == "443")
}

// splitHost splits host:port, where the port is optional. An IPv6 address keeps its brackets.
func splitHost(text string) (host, port string) {
	colon := strings.LastIndexByte(text, ':')
	if colon < strings.LastIndexByte(text, ']') || colon < 0 {
		return text, ""
	}
	return text[:colon], text[colon+1:]
}
