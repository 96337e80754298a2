package config

import (
	"fmt"
	"net"
	"net/netip"
)

// checkPorts refuses one port for two faces: the second would find it in use, by us.
func (c *Config) checkPorts() error {
	type face struct{ flag, address string }
	z := &c.ZooKeeper
	faces := []face{
		{"--zk-listen", z.Listen},
		{"--zk-secure-listen", z.Secure},
		{"--zk-admin-listen", z.Admin},
		{"--zk-metrics-listen", z.Metrics},
	}
	zookeepers := len(faces)
	for _, group := range []struct {
		flag string
		urls URLs
	}{
		{"--listen-client-urls", c.Listen.Client},
		{"--listen-client-http-urls", c.Listen.HTTP},
		{"--listen-metrics-urls", c.Listen.Metrics},
	} {
		for _, u := range group.urls { // among themselves they may share one
			if network, address := Address(u); network == "tcp" {
				faces = append(faces, face{group.flag, address})
			}
		}
	}
	for i, a := range faces[:zookeepers] {
		for _, b := range faces[i+1:] {
			if port, same := samePort(a.address, b.address); same {
				return fmt.Errorf("%s and %s both have port %s: give one of them another", a.flag, b.flag, port)
			}
		}
	}
	return nil
}

// samePort reports whether only one of two addresses can be had. The kernel chooses for
// port 0, and names other than localhost are what they are called.
func samePort(a, b string) (port string, same bool) {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return "", false
	}
	hostA, hostB = loopback(hostA), loopback(hostB)
	return portA, covers(hostA, hostB) || covers(hostB, hostA)
}

// loopback is the address of the one name that is the same everywhere.
func loopback(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	return host
}

// covers reports whether who listens on host listens on other, too.
func covers(host, other string) bool {
	switch host {
	case "", "::", other:
		return true
	case "0.0.0.0":
		ip, err := netip.ParseAddr(other)
		return other == "" || err != nil || ip.Is4()
	}
	return false
}
