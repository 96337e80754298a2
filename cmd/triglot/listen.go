package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/triglot/triglot/cmd/triglot/config"
	httpfront "github.com/triglot/triglot/frontends/http"
)

// listeners are the bound addresses of a member.
type listeners struct {
	client, http, metrics []net.Listener
	zk                    net.Listener // nil if ZooKeeper's face is off
}

// listen binds every address of cfg, or none. Client connections share slots.
func listen(cfg *config.Config, slots httpfront.Slots) (*listeners, error) {
	l := &listeners{}
	for _, group := range []struct {
		flag  string
		urls  config.URLs
		slots httpfront.Slots
		into  *[]net.Listener
	}{
		{"--listen-client-urls", cfg.Listen.Client, slots, &l.client},
		{"--listen-client-http-urls", cfg.Listen.HTTP, slots, &l.http},
		// The watchdogs must get through when clients have taken every slot.
		{"--listen-metrics-urls", cfg.Listen.Metrics, nil, &l.metrics},
	} {
		for _, u := range group.urls {
			bound, err := bindURL(u)
			if err != nil {
				l.close()
				return nil, fmt.Errorf("%s %s: %w", group.flag, u.String(), err)
			}
			*group.into = append(*group.into, group.slots.Limit(bound))
		}
	}
	if address := cfg.ZooKeeper.Listen; address != "" {
		bound, err := bind("tcp", address)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("--zk-listen %s: %w, or --zk-listen=off", address, err)
		}
		l.zk = slots.Limit(bound)
	}
	return l, nil
}

func (l *listeners) all() []net.Listener {
	all := append(append(append([]net.Listener{}, l.client...), l.http...), l.metrics...)
	if l.zk != nil {
		all = append(all, l.zk)
	}
	return all
}

func (l *listeners) close() {
	for _, listener := range l.all() {
		_ = listener.Close() // nothing was accepted
	}
}

func bindURL(u url.URL) (net.Listener, error) {
	network, address := config.Address(u)
	return bind(network, address)
}

// bind listens on one address. Its error says what to do about it.
func bind(network, address string) (net.Listener, error) {
	if network == "unix" {
		if err := removeStaleSocket(address); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen(network, address)
	host, port, _ := net.SplitHostPort(address) // of a network that has them
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, syscall.EADDRINUSE) && network == "tcp":
		return nil, fmt.Errorf("port %s is in use by another process: stop it, or choose another port", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("this host has no address %s: use one that it has, or 0.0.0.0 for all", host)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("not allowed to listen on %s: choose a port above 1023 or another path", address)
	}
	return nil, err
}

// removeStaleSocket removes a socket that its server left behind, and nothing
// else.
func removeStaleSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%s exists and is no socket: choose another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(fmt.Errorf("socket %s is in use by another process: stop it, or choose another path", path), conn.Close())
	}
	return os.Remove(path)
}

// withBoundPorts replaces port 0 in urls, which lets the kernel choose, by the
// port that each listener got.
func withBoundPorts(urls config.URLs, bound []net.Listener) config.URLs {
	urls = append(config.URLs{}, urls...)
	for i := range urls {
		tcp, ok := bound[i].Addr().(*net.TCPAddr)
		if ok && urls[i].Port() == "0" {
			urls[i].Host = net.JoinHostPort(urls[i].Hostname(), fmt.Sprint(tcp.Port))
		}
	}
	return urls
}
