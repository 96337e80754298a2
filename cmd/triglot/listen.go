package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/triglot/triglot/cmd/triglot/config"
	httpfront "github.com/triglot/triglot/frontends/http"
)

// listeners are the bound addresses of a member.
type listeners struct {
	client, http, metrics, peer []*endpoint
	zk                          zkListeners
	// local is the socket of the member's own calls; nil if there is none.
	local net.Listener
}

// endpoint is a bound address. One that is named both by a http:// and by a
// https:// URL serves both.
type endpoint struct {
	net.Listener
	configured    string // as in the URL
	plain, secure bool
}

// listen binds every address of cfg, or none. Client connections share slots.
func listen(cfg *config.Config, slots httpfront.Slots) (*listeners, error) {
	l := &listeners{}
	for _, group := range []struct {
		flag  string
		urls  config.URLs
		slots httpfront.Slots
		into  *[]*endpoint
	}{
		{"--listen-client-urls", cfg.Listen.Client, slots, &l.client},
		{"--listen-client-http-urls", cfg.Listen.HTTP, slots, &l.http},
		// The watchdogs must get through when clients have taken every slot.
		{"--listen-metrics-urls", cfg.Listen.Metrics, nil, &l.metrics},
		{"--listen-peer-urls", cfg.Listen.Peer, nil, &l.peer},
	} {
		for _, u := range group.urls {
			e := endpointOf(*group.into, u)
			if e == nil {
				bound, err := bindURL(u, cfg.Listen.ReusePort)
				if err != nil {
					l.close()
					return nil, fmt.Errorf("%s %s: %w", group.flag, u.String(), err)
				}
				_, address := config.Address(u)
				e = &endpoint{Listener: group.slots.Limit(bound), configured: address}
				*group.into = append(*group.into, e)
			}
			e.secure = e.secure || config.Secure(u)
			e.plain = e.plain || !config.Secure(u)
		}
	}
	if err := l.zk.listen(cfg, slots); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// endpointOf is the endpoint that serves a URL, nil if there is none.
func endpointOf(endpoints []*endpoint, u url.URL) *endpoint {
	_, address := config.Address(u)
	i := slices.IndexFunc(endpoints, func(e *endpoint) bool { return e.configured == address })
	if i < 0 {
		return nil
	}
	return endpoints[i]
}

// endpoints are those of clients.
func (l *listeners) endpoints() []*endpoint { return slices.Concat(l.client, l.http, l.metrics) }

// close closes all of them. Those for peers are the member's once that has started.
func (l *listeners) close() {
	for _, e := range l.peer {
		_ = e.Close() // nothing was accepted
	}
	l.closeClients()
}

func (l *listeners) closeClients() {
	for _, e := range l.endpoints() {
		_ = e.Close() // nothing was accepted, or what was has its owner
	}
	l.zk.close()
	if l.local != nil {
		_ = l.local.Close()
	}
}

func bindURL(u url.URL, reusePort bool) (net.Listener, error) {
	network, address := config.Address(u)
	return bind(network, address, reusePort && network != "unix")
}

// bind listens on one address. Its error says what to do about it.
func bind(network, address string, reusePort bool) (net.Listener, error) {
	if network == "unix" {
		if err := removeStaleSocket(address); err != nil {
			return nil, err
		}
	}
	var how net.ListenConfig
	if reusePort {
		how.Control = setReusePort
	}
	listener, err := how.Listen(context.Background(), network, address)
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

// setReusePort lets other processes listen on the same port.
func setReusePort(_, _ string, conn syscall.RawConn) error {
	var err error
	control := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(control, err)
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
	switch {
	case err == nil:
		_ = conn.Close() // nothing was asked
	case errors.Is(err, syscall.ECONNREFUSED): // nobody listens any more
		return os.Remove(path)
	case !errors.Is(err, syscall.EAGAIN): // one who is too busy to be called listens
		return fmt.Errorf("whether socket %s is in use cannot be told: %w", path, err)
	}
	return fmt.Errorf("socket %s is in use by another process: stop it, or choose another path", path)
}

// withBoundPorts replaces port 0 in urls, which lets the kernel choose, by the
// port that the listener got.
func withBoundPorts(urls config.URLs, bound []*endpoint) config.URLs {
	urls = append(config.URLs{}, urls...)
	for i, u := range urls {
		tcp, ok := endpointOf(bound, u).Addr().(*net.TCPAddr)
		if ok && u.Port() == "0" {
			urls[i].Host = net.JoinHostPort(u.Hostname(), fmt.Sprint(tcp.Port))
		}
	}
	return urls
}
