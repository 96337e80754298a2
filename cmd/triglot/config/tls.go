package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"

	"github.com/triglot/triglot/cmd/triglot/certs"
)

// TLS is what concerns the certificates of the listeners.
type TLS struct {
	// Client is for the addresses of clients and of the metrics, Peer for those of
	// other members.
	Client, Peer Certificates
	// Quorum is what a zoo.cfg has for the addresses of other members (sslQuorum). With a
	// key store it stands for Peer.
	Quorum ZKTLS
	// SelfSignedYears is how long a certificate lasts that is made for Auto.
	SelfSignedYears uint64
	// Suites, Min and Max hold for both.
	Suites   []uint16
	Min, Max uint16

	suites   []string
	min, max string
}

// Certificates says where the certificates of one side are, and whom they let in.
type Certificates struct {
	CertFile, KeyFile             string
	ClientCertFile, ClientKeyFile string
	TrustedCAFile, CRLFile        string
	ClientCertAuth                bool
	AllowedNames, AllowedHosts    []string
	// Auto makes a certificate if none is given.
	Auto bool
	// AnyAddress lets a peer's certificate come from an address that it does not
	// name.
	AnyAddress bool
}

// Has reports whether there is a certificate, or will be.
func (c *Certificates) Has() bool { return c.CertFile != "" || c.KeyFile != "" || c.Auto }

// Secure reports whether an address is served with TLS.
func Secure(u url.URL) bool { return u.Scheme == "https" || u.Scheme == "unixs" }

// checkTLS refuses what the certificates' flags contradict, in etcd's words where
// it has some. The files themselves are read later.
func (c *Config) checkTLS() error {
	t := &c.TLS
	var err error
	if t.Min, err = certs.ParseVersion(t.min); err != nil {
		return err
	}
	if t.Max, err = certs.ParseVersion(t.max); err != nil {
		return err
	}
	switch {
	case t.Max != 0 && t.Min > t.Max:
		return fmt.Errorf("min version (%s) is greater than max version (%s)", t.min, t.max)
	case t.Min == tls.VersionTLS13 && len(t.suites) > 0:
		return errors.New("cipher suites cannot be configured when only TLS1.3 is enabled")
	}
	if t.Suites, err = certs.ParseSuites(t.suites); err != nil {
		return err
	}
	if err := c.checkSchemes(); err != nil {
		return err
	}
	c.noteStrangers()
	if (t.Client.Auto || t.Peer.Auto) && t.SelfSignedYears == 0 {
		return errors.New("--self-signed-cert-validity: selfSignedCertValidity is invalid,it should be greater than 0")
	}
	for _, side := range []struct {
		name string
		c    *Certificates
	}{{"client", &t.Client}, {"peer", &t.Peer}} {
		if side.c.Auto && side.c.CertFile != "" {
			c.note(slog.LevelWarn, "ignoring "+side.name+" auto TLS since certs given")
			side.c.Auto = false
		}
	}
	return nil
}

// noteStrangers says that clients are not asked for a certificate although
// authorities are named: as with etcd, the scheme of an address decides.
func (c *Config) noteStrangers() {
	urls := slices.Concat(c.Listen.Client, c.Listen.HTTP, c.Listen.Metrics)
	if c.TLS.Client.TrustedCAFile != "" && !slices.ContainsFunc(urls, Secure) && !c.ZooKeeper.SharesTLS() {
		c.note(slog.LevelWarn, "an option has no effect", "given", "--trusted-ca-file", "why", "no address for clients is https:// or unixs://")
	}
}

// checkSchemes compares the addresses with the certificates.
func (c *Config) checkSchemes() error {
	t := &c.TLS
	client, peer := &t.Client, &t.Peer
	for _, urls := range []URLs{c.Listen.Client, c.Listen.HTTP} {
		for _, u := range urls {
			if Secure(u) && !client.Has() {
				return fmt.Errorf("TLS key/cert (--cert-file, --key-file) must be provided for client url %s with HTTPS scheme", u.String())
			}
			c.noteUnused(u, client, "http or unix", "--client-cert-auth", "client-url")
		}
	}
	for _, u := range c.Listen.Metrics {
		if Secure(u) && !client.Has() {
			return errors.New("client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url")
		}
	}
	if c.ZooKeeper.SharesTLS() && !client.Has() {
		if c.Mode == ZooKeeper {
			return errors.New("secureClientPort and client.portUnification need a certificate: give ssl.keyStore.location")
		}
		return errors.New("TLS key/cert (--cert-file, --key-file) must be provided for --zk-secure-listen")
	}
	for _, u := range c.Listen.Peer {
		if Secure(u) && !peer.Has() && t.Quorum.Stores.Key.Path == "" {
			return fmt.Errorf("cannot listen on TLS for %s: KeyFile and CertFile are not presented", u.Host)
		}
		c.noteUnused(u, peer, "HTTP", "--peer-client-cert-auth", "peer-url")
	}
	return nil
}

// noteUnused says that certificates, or that clients need them, mean nothing on
// an address without TLS.
func (c *Config) noteUnused(u url.URL, certs *Certificates, scheme, flag, key string) {
	if Secure(u) {
		return
	}
	if certs.Has() {
		c.note(slog.LevelWarn, "scheme is "+scheme+" while key and cert files are present; ignoring key and cert files", key, u.String())
	}
	if certs.ClientCertAuth {
		c.note(slog.LevelWarn, "scheme is "+scheme+" while "+flag+" is enabled; ignoring client cert auth for this URL", key, u.String())
	}
}

var tlsOptions = []option{
	{
		name: "cert-file", group: "TLS",
		usage: "certificate shown to clients (PEM, with the chain behind it); a change is taken up within 10 s, or on SIGHUP",
		field: func(c *Config) any { return &c.TLS.Client.CertFile },
	},
	{
		name: "key-file", group: "TLS",
		usage: "key of cert-file",
		field: func(c *Config) any { return &c.TLS.Client.KeyFile },
	},
	{
		name: "client-cert-file", group: "TLS",
		usage: "certificate that the server itself would show to others as a client; checked and not used",
		field: func(c *Config) any { return &c.TLS.Client.ClientCertFile },
	},
	{
		name: "client-key-file", group: "TLS",
		usage: "key of client-cert-file",
		field: func(c *Config) any { return &c.TLS.Client.ClientKeyFile },
	},
	{
		name: "client-cert-auth", group: "TLS", etcd: "false",
		usage: "refuse clients without a certificate; its common name stands for a user while authentication is on",
		field: func(c *Config) any { return &c.TLS.Client.ClientCertAuth },
	},
	{
		name: "trusted-ca-file", group: "TLS",
		usage: "authorities of the clients' certificates; if given, clients without one are refused",
		field: func(c *Config) any { return &c.TLS.Client.TrustedCAFile },
	},
	{
		name: "client-crl-file", group: "TLS",
		usage: "list of revoked certificates of clients (DER or PEM)",
		field: func(c *Config) any { return &c.TLS.Client.CRLFile },
	},
	{
		name: "client-cert-allowed-hostname", group: "TLS",
		usage: "host names, of which a client's certificate must be for one",
		field: func(c *Config) any { return &c.TLS.Client.AllowedHosts },
	},
	{
		name: "client-cert-allowed-cn", group: "TLS",
		usage: "common names, of which a client's certificate must have one (Triglot's own as a flag; etcd has it in its file)",
		field: func(c *Config) any { return &c.TLS.Client.AllowedNames },
	},
	{
		name: "client-skip-client-san-verification", group: "TLS", etcd: "false",
		usage: "let the certificate of a client of listen-metrics-urls come from an address that it does not name (Triglot's own as a flag; etcd has it in its file)",
		field: func(c *Config) any { return &c.TLS.Client.AnyAddress },
	},
	{
		name: "auto-tls", group: "TLS", etcd: "false",
		usage: "make a certificate if none is given, for development: in fixtures/client below the data directory",
		field: func(c *Config) any { return &c.TLS.Client.Auto },
	},
	{
		name: "self-signed-cert-validity", group: "TLS", etcd: "1",
		usage: "years that a certificate of auto-tls lasts",
		field: func(c *Config) any { return &c.TLS.SelfSignedYears },
	},
	{
		name: "cipher-suites", group: "TLS",
		usage: "cipher suites below TLS 1.3, by IANA's names (by default Go's choice)",
		field: func(c *Config) any { return &c.TLS.suites },
	},
	{
		name: "tls-min-version", group: "TLS", etcd: certs.TLS12,
		usage: "lowest version of TLS: TLS1.2 or TLS1.3",
		field: func(c *Config) any { return &c.TLS.min },
	},
	{
		name: "tls-max-version", group: "TLS",
		usage: "highest version of TLS: TLS1.2 or TLS1.3",
		field: func(c *Config) any { return &c.TLS.max },
	},
}

// peerTLSOptions are for the addresses of other members, both ways.
var peerTLSOptions = []option{
	{
		name: "peer-cert-file", group: "TLS of peers",
		usage: "certificate shown to other members, and by default shown as their client",
		field: func(c *Config) any { return &c.TLS.Peer.CertFile },
	},
	{
		name: "peer-key-file", group: "TLS of peers",
		usage: "key of peer-cert-file",
		field: func(c *Config) any { return &c.TLS.Peer.KeyFile },
	},
	{
		name: "peer-client-cert-file", group: "TLS of peers",
		usage: "certificate shown to other members as their client",
		field: func(c *Config) any { return &c.TLS.Peer.ClientCertFile },
	},
	{
		name: "peer-client-key-file", group: "TLS of peers",
		usage: "key of peer-client-cert-file",
		field: func(c *Config) any { return &c.TLS.Peer.ClientKeyFile },
	},
	{
		name: "peer-client-cert-auth", group: "TLS of peers", etcd: "false",
		usage: "refuse members without a certificate",
		field: func(c *Config) any { return &c.TLS.Peer.ClientCertAuth },
	},
	{
		name: "peer-trusted-ca-file", group: "TLS of peers",
		usage: "authorities of other members' certificates",
		field: func(c *Config) any { return &c.TLS.Peer.TrustedCAFile },
	},
	{
		name: "peer-crl-file", group: "TLS of peers",
		usage: "list of revoked certificates of members (DER or PEM)",
		field: func(c *Config) any { return &c.TLS.Peer.CRLFile },
	},
	{
		name: "peer-cert-allowed-cn", group: "TLS of peers",
		usage: "common names, of which a member's certificate must have one",
		field: func(c *Config) any { return &c.TLS.Peer.AllowedNames },
	},
	{
		name: "peer-cert-allowed-hostname", group: "TLS of peers",
		usage: "host names, of which a member's certificate must be for one",
		field: func(c *Config) any { return &c.TLS.Peer.AllowedHosts },
	},
	{
		name: "peer-auto-tls", group: "TLS of peers", etcd: "false",
		usage: "make a certificate if none is given, for development: in fixtures/peer below the data directory",
		field: func(c *Config) any { return &c.TLS.Peer.Auto },
	},
	{
		name: "peer-skip-client-san-verification", group: "TLS of peers", etcd: "false",
		usage: "let a member's certificate come from an address that it does not name",
		field: func(c *Config) any { return &c.TLS.Peer.AnyAddress },
	},
}
