package config

import (
	"errors"
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
	switch u.Scheme {
	case "http", "https":
		if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Path != "" {
			return nil, fmt.Errorf("%q is not of the form %s://host:port", text, u.Scheme)
		}
	case "unix", "unixs":
	default:
		return nil, fmt.Errorf("%q does not begin with http://, https:// or unix://", text)
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
	if u.Scheme == "unix" {
		return "unix", u.Host + u.Path
	}
	return "tcp", u.Host
}

// checkListen refuses addresses that cannot be listened on.
func checkListen(us URLs) error {
	for _, u := range us {
		switch u.Scheme {
		case "https", "unixs":
			return fmt.Errorf("%s asks for TLS, which is not supported yet: use http:// or unix://", u.String())
		case "unix":
			continue
		}
		host := u.Hostname()
		if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
			return fmt.Errorf("%s names a host: listen on an IP address (0.0.0.0 is all of them) or localhost", u.String())
		}
		if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil {
			return fmt.Errorf("%s has no valid port: give one from 0, which is any free one, to 65535", u.String())
		}
	}
	return nil
}

// checkAdvertise refuses addresses that nobody can be sent to.
func checkAdvertise(us URLs) error {
	if slices.ContainsFunc(us, func(u url.URL) bool { return u.Host == "" && u.Path == "" || strings.HasPrefix(u.Host, ":") }) {
		return errors.New("a host is missing: write http://host:port")
	}
	return nil
}

// unspecified reports whether u stands for all addresses of the machine.
func unspecified(u url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsUnspecified()
}
