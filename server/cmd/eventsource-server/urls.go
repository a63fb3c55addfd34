package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// checkNATS returns an error for invalid URLs in a comma-separated list. The error does not repeat them, because they
// may contain passwords.
func checkNATS(urls string) error {
	var all list
	all.Set(urls)
	for i, text := range all {
		if problem := problemOfNATS(text); problem != "" {
			return fmt.Errorf("-store: URL %d %s: write nats://host:4222, or nats://user:password@host:4222 "+
				"with special characters percent-encoded", i+1, problem)
		}
	}
	return nil
}

func problemOfNATS(text string) (problem string) {
	if !strings.Contains(text, "://") {
		text = "nats://" + text // as the client does
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "is malformed"
	case u.Scheme != "nats" && u.Scheme != "tls":
		return "does not begin with nats:// or tls://"
	case u.Hostname() == "":
		return "has no host"
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return "has text after the host"
	case strings.HasSuffix(u.Host, ":"):
		return "has an empty port"
	}
	return ""
}

// parseNetwork also accepts a single address. It rejects networks that match no client: addresses of clients have no
// zone, and IPv4 addresses are never in IPv6 form.
func parseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if ip, notPrefix := netip.ParseAddr(text); notPrefix == nil {
		network, err = netip.PrefixFrom(ip.WithZone(""), ip.BitLen()), nil
		if ip.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q matches nothing: remove the zone, %q", text, ip.WithZone(""))
		}
	}
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not a network: write one such as 10.0.0.0/8, or an address", text)
	case network.Addr().Is4In6() && network.Bits() >= 96:
		return netip.Prefix{}, fmt.Errorf("%q matches nothing: write %q", text, netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96))
	case network.Addr().Is4In6():
		return netip.Prefix{}, errors.New(text + " contains IPv4 and IPv6 addresses: write one network for each")
	}
	return network, nil
}
