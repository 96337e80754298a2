package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// URLs is a set of addresses, sorted. An address is http://host:port,
// https://host:port, unix://path or unixs://path.
type URLs []url.URL

// ParseURLs parses a comma-separated list. The empty string is no URLs.
func ParseURLs(text string) (URLs, error) {
	if text == "" {
		return nil, nil
	}
	var urls URLs
	for item := range strings.SplitSeq(text, ",") {
		u, err := parseURL(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		urls = append(urls, *u)
	}
	byText := func(a, b url.URL) int { return strings.Compare(a.String(), b.String()) }
	slices.SortFunc(urls, byText)
	return slices.CompactFunc(urls, func(a, b url.URL) bool { return byText(a, b) == 0 }), nil
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a URL", text)
	}
	switch u.Scheme { // in etcd's words
	case "unix", "unixs":
	case "http", "https":
		if _, _, err := net.SplitHostPort(u.Host); err != nil {
			return nil, fmt.Errorf(`URL address does not have the form "host:port": %s`, text)
		}
		if u.Path != "" {
			return nil, fmt.Errorf("URL must not contain a path: %s", text)
		}
	default:
		return nil, fmt.Errorf("URL scheme must be http, https, unix, or unixs: %s", text)
	}
	return u, nil
}

// Strings returns the URLs one by one; the caller owns the slice.
func (us URLs) Strings() []string {
	list := make([]string, len(us))
	for i := range us {
		list[i] = us[i].String()
	}
	return list
}

func (us URLs) String() string { return strings.Join(us.Strings(), ",") }

// Address is what a URL means to net.Listen.
func Address(u url.URL) (network, address string) {
	if isUnix(u) {
		return "unix", u.Host + u.Path
	}
	return "tcp", u.Host
}

func isUnix(u url.URL) bool { return u.Scheme == "unix" || u.Scheme == "unixs" }

// checkListen refuses addresses that cannot be listened on. Names of hosts are what they
// resolve to, where they are allowed: etcd wants addresses.
func checkListen(us URLs, names bool) error {
	for _, u := range us {
		if isUnix(u) {
			continue
		}
		host := u.Hostname()
		if _, err := netip.ParseAddr(host); err != nil && host != "localhost" && !names {
			return fmt.Errorf("expected IP in URL for binding (%s): 0.0.0.0 is all of them", u.String())
		}
		if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil {
			return fmt.Errorf("%s has no valid port: give one from 0, which is any free one, to 65535", u.String())
		}
	}
	return nil
}

// checkAdvertise refuses addresses that nobody can be sent to.
func checkAdvertise(us URLs) error {
	for _, u := range us {
		if !isUnix(u) && u.Hostname() == "" {
			return fmt.Errorf("unexpected empty host (%s)", u.String())
		}
	}
	return nil
}

// unspecified reports whether u stands for all addresses of the machine.
func unspecified(u url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsUnspecified()
}
