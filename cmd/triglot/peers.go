package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/triglot/triglot/cmd/triglot/certs"
	"github.com/triglot/triglot/cmd/triglot/config"
	"github.com/triglot/triglot/core/node"
)

// peerConfig is how this member reaches others and is reached. What it binds is the
// member's once that has started.
func (s *server) peerConfig() node.PeerConfig {
	if len(s.bound.peer) == 0 {
		return node.PeerConfig{} // a ZooKeeper that is one by itself
	}
	raft := s.cfg.Cluster.Raft
	peers := node.PeerConfig{Dial: s.certs.dialPeer, ReadTimeout: raft.ReadTimeout, WriteTimeout: raft.WriteTimeout}
	for _, e := range s.bound.peer {
		peers.Listeners = append(peers.Listeners, e.Listener)
	}
	return peers
}

// securePeers puts TLS on the addresses for other members that are to have it. Nothing
// has been accepted yet.
func (s *server) securePeers() {
	if s.certs.peer == nil {
		return // there is none, or the member will not start
	}
	for _, e := range s.bound.peer {
		if !e.secure {
			continue
		}
		e.Listener = certs.NewListener(e.Listener, s.certs.peer.TLS(), certs.ListenOptions{
			Plain:        e.plain || s.cfg.TLS.Quorum.Unification,
			CheckAddress: s.cfg.TLS.Quorum.Stores.Key.Path == "" && !s.cfg.TLS.Peer.AnyAddress, // as etcd does
			Rejected:     "rejected connection on peer endpoint",
			Logger:       s.log,
		})
	}
}

// peerKeepAlive is the silence after which the system looks whether a peer's host is
// still there. What speaks on the connection notices sooner.
const peerKeepAlive = 30 * time.Second

// dialPeer calls a peer URL.
func (k *keepers) dialPeer(ctx context.Context, text string) (net.Conn, error) {
	urls, err := config.ParseURLs(text)
	if err != nil || len(urls) != 1 {
		return nil, fmt.Errorf("%q is not a peer URL", text)
	}
	network, address := config.Address(urls[0])
	dialer := net.Dialer{KeepAlive: peerKeepAlive}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil || !config.Secure(urls[0]) {
		return conn, err
	}
	return k.peer.Client(ctx, conn, serverName(urls[0]))
}

// serverName is what the certificate of whoever answers at u must be for.
func serverName(u url.URL) string {
	if host := u.Hostname(); host != "" && slices.Contains([]string{"http", "https"}, u.Scheme) {
		return host
	}
	return "localhost" // a socket has no name of a host
}
