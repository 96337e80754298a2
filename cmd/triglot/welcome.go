package main

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/triglot/triglot/cmd/triglot/config"
)

// welcome says where each protocol is served, with a line to paste for each: all
// three read and write one datum.
func (s *server) welcome() string {
	const znode = "/hello"
	mount, _ := s.node.Mount()
	key := strings.TrimSuffix(mount, "/") + znode
	var b strings.Builder
	fmt.Fprintf(&b, "Triglot %s, data in %s\n\n", version, s.cfg.Member.DataDir)
	line := func(protocol, address, command string) {
		fmt.Fprintf(&b, "  %-10s %-24s %s\n", protocol, address, command)
	}
	trusting, _ := s.trusting(s.clientURLs[0])
	line("etcd", s.clientURLs.String(), fmt.Sprintf("etcdctl --endpoints=%s %sput %s world", s.clientURLs.Strings()[0], trusting, key))
	if s.bound.zk.client != nil {
		address := s.bound.zk.client.Addr().String()
		line("ZooKeeper", address, fmt.Sprintf("zkCli.sh -server %s get %s", address, znode))
	}
	if s.gateway != nil {
		body := fmt.Sprintf(`{"key":"%s"}`, base64.StdEncoding.EncodeToString([]byte(key)))
		line("HTTP", s.httpURLs().String(), s.curl("/v3/kv/range")+" -d '"+body+"'")
	} else {
		line("HTTP", s.httpURLs().String(), s.curl("/health"))
	}
	return b.String()
}

// httpURLs is where plain HTTP is served.
func (s *server) httpURLs() config.URLs {
	if len(s.bound.http) > 0 {
		return withBoundPorts(s.cfg.Listen.HTTP, s.bound.http)
	}
	return s.clientURLs
}

// curl is a command line that asks for a path over plain HTTP.
func (s *server) curl(path string) string {
	u := s.httpURLs()[0]
	_, trusting := s.trusting(u)
	network, address := config.Address(u)
	switch {
	case network == "unix" && config.Secure(u):
		return "curl " + trusting + "--unix-socket " + address + " https://localhost" + path
	case network == "unix":
		return "curl --unix-socket " + address + " http://localhost" + path
	}
	return "curl " + trusting + u.String() + path
}
