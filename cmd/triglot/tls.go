package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/grpc/credentials"

	"github.com/triglot/triglot/cmd/triglot/certs"
	"github.com/triglot/triglot/cmd/triglot/config"
	httpfront "github.com/triglot/triglot/frontends/http"
)

// keepers keep the certificates of the addresses for clients, for peers, and for
// ZooKeeper's clients if those have their own; nil where there is no need of one.
type keepers struct{ client, peer, zk *certs.Keeper }

// loadCertificates loads the certificates that are given. Those of clients matter
// only if an address asks for TLS, as in etcd.
func loadCertificates(all *config.Config, log *slog.Logger) (k keepers, err error) {
	cfg := &all.TLS
	for name, c := range map[string]*config.Certificates{"client": &cfg.Client, "peer": &cfg.Peer} {
		if c.Has() {
			log.Info("starting with "+name+" TLS", "cert-file", c.CertFile, "key-file", c.KeyFile, "trusted-ca-file", c.TrustedCAFile,
				"client-cert-auth", c.ClientCertAuth, "crl-file", c.CRLFile, "auto-tls", c.Auto)
		}
	}
	zooKeeper := all.ZooKeeper.Secured()
	if stores := all.ZooKeeper.TLS.Stores; zooKeeper && stores.Key.Path != "" {
		stores.Logger = log
		if k.zk, err = certs.LoadStores(stores); err != nil {
			return k, err
		}
		zooKeeper = false
	}
	if (zooKeeper || slices.ContainsFunc(clientURLs(all), config.Secure)) && !cfg.Client.Auto {
		if k.client, err = certs.Load(certificates(cfg, false, log)); err != nil {
			return k, err
		}
	}
	switch stores := cfg.Quorum.Stores; {
	case stores.Key.Path != "":
		stores.Logger = log
		k.peer, err = certs.LoadStores(stores)
	// Members at https:// are called by one that has no certificate, too.
	case (cfg.Peer.Has() || cfg.Peer.TrustedCAFile != "") && !cfg.Peer.Auto:
		k.peer, err = certs.Load(certificates(cfg, true, log))
	}
	return k, err
}

// clientURLs are the addresses that have the certificates of clients.
func clientURLs(cfg *config.Config) config.URLs {
	return slices.Concat(cfg.Listen.Client, cfg.Listen.HTTP, cfg.Listen.Metrics)
}

// zooKeeper is the keeper of ZooKeeper's listeners.
func (k *keepers) zooKeeper() *certs.Keeper {
	if k.zk != nil {
		return k.zk
	}
	return k.client
}

// makeClient makes the certificate of --auto-tls, if it is needed.
func (k *keepers) makeClient(cfg *config.Config, log *slog.Logger) (err error) {
	urls := clientURLs(cfg)
	others := cfg.ZooKeeper.Secured() && k.zk == nil // addresses that are no URLs
	if cfg.TLS.Client.Auto && (others || slices.ContainsFunc(urls, config.Secure)) {
		k.client, err = selfSigned(cfg, false, urls, log)
	}
	return err
}

// makePeer makes the certificate of --peer-auto-tls, if it is needed. Peers are spoken to
// from the very start, so the directory is not known to be the member's yet: none is made
// in one that core/node will refuse.
func (k *keepers) makePeer(cfg *config.Config, log *slog.Logger) (err error) {
	urls := cfg.Listen.Peer
	if cfg.TLS.Peer.Auto && slices.ContainsFunc(urls, config.Secure) && mayBeMembers(cfg.Member.DataDir) {
		k.peer, err = selfSigned(cfg, true, urls, log)
	}
	return err
}

// mayBeMembers reports whether a directory is empty, missing, or looks like a member's,
// which an etcd's may become.
func mayBeMembers(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	known := func(e fs.DirEntry) bool {
		return slices.Contains([]string{memberMark, fixtures, etcdMember, "lost+found"}, e.Name())
	}
	return len(entries) == 0 || slices.ContainsFunc(entries, known)
}

const (
	// fixtures is the directory of certificates that are made, as with etcd.
	fixtures = "fixtures"
	// etcdMember is the directory of etcd's data.
	etcdMember = "member"
)

// selfSigned makes the certificate of one side below the data directory, unless there is
// one, and loads it.
func selfSigned(cfg *config.Config, peer bool, urls config.URLs, log *slog.Logger) (*certs.Keeper, error) {
	side := "client"
	if peer {
		side = "peer"
	}
	c := certificates(&cfg.TLS, peer, log)
	var err error
	c.CertFile, c.KeyFile, err = certs.SelfSigned(filepath.Join(cfg.Member.DataDir, fixtures, side), hostsOf(urls), cfg.TLS.SelfSignedYears, log)
	if err != nil {
		return nil, err
	}
	return certs.Load(c)
}

// hostsOf are the names by which clients will call addresses.
func hostsOf(urls config.URLs) []string {
	var hosts []string
	add := func(names ...string) {
		for _, name := range names {
			if name != "" && !slices.Contains(hosts, name) {
				hosts = append(hosts, name)
			}
		}
	}
	for _, u := range urls {
		add(u.Hostname())
		if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
			name, _ := os.Hostname() // or none
			add("localhost", "127.0.0.1", "::1", name)
		}
	}
	return hosts
}

// certificates are the settings of one side.
func certificates(cfg *config.TLS, peer bool, log *slog.Logger) certs.Config {
	c := &cfg.Client
	if peer {
		c = &cfg.Peer
	}
	return certs.Config{
		Peer:     peer,
		CertFile: c.CertFile, KeyFile: c.KeyFile,
		ClientCertFile: c.ClientCertFile, ClientKeyFile: c.ClientKeyFile,
		TrustedCAFile: c.TrustedCAFile, ClientCertAuth: c.ClientCertAuth, CRLFile: c.CRLFile,
		TrustAll:     peer && c.Auto, // as etcd: nobody can tell who shows one that was made so
		AllowedNames: c.AllowedNames, AllowedHosts: c.AllowedHosts,
		CipherSuites: cfg.Suites, MinVersion: cfg.Min, MaxVersion: cfg.Max,
		Logger: log,
	}
}

func (k *keepers) reload() {
	for _, keeper := range []*certs.Keeper{k.client, k.peer, k.zk} {
		if keeper != nil {
			keeper.Reload()
		}
	}
}

func (k *keepers) close() {
	for _, keeper := range []*certs.Keeper{k.client, k.peer, k.zk} {
		if keeper != nil {
			keeper.Close()
		}
	}
}

// secure puts TLS on the addresses that are to have it. Nothing has been accepted
// yet.
func (s *server) secure() {
	s.secureZooKeeper()
	for _, e := range s.bound.endpoints() {
		if !e.secure {
			continue
		}
		e.Listener = certs.NewListener(e.Listener, s.certs.client.TLS(), certs.ListenOptions{
			Plain: e.plain,
			// As etcd does.
			CheckAddress: slices.Contains(s.bound.metrics, e) && !s.cfg.TLS.Client.AnyAddress,
			Rejected:     "rejected connection on client endpoint",
			Logger:       s.log,
		})
	}
}

// handshaken tells gRPC's handlers of the TLS under a connection, whose handshake
// was made when it was accepted.
type handshaken struct{}

var errServerOnly = errors.New("these credentials are a server's")

// ServerHandshake implements credentials.TransportCredentials.
func (handshaken) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	state, ok := httpfront.TLSState(conn)
	if !ok {
		return conn, nil, nil
	}
	return conn, credentials.TLSInfo{
		State:          *state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (handshaken) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errServerOnly
}

// Info implements credentials.TransportCredentials.
func (handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (c handshaken) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials.
func (handshaken) OverrideServerName(string) error { return errServerOnly }

// trusting are the arguments with which etcdctl and curl trust the server of a
// URL.
func (s *server) trusting(u url.URL) (etcdctl, curl string) {
	switch {
	case !config.Secure(u):
		return "", ""
	case s.cfg.TLS.Client.Auto:
		return "--insecure-transport=false --insecure-skip-tls-verify ", "-k "
	}
	return "--cacert=CA.pem ", "--cacert CA.pem "
}
