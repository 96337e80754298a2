package certs

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
)

// Config says where the certificates are and whom they let in. The zero value
// stands for no TLS.
type Config struct {
	// Peer says that the flags of the peers' side are meant, in what is said about
	// them: --peer-cert-file and not --cert-file.
	Peer bool

	// CertFile and KeyFile are what is shown; one who only calls needs none, and shows
	// none then, as with etcd.
	CertFile, KeyFile string
	// ClientCertFile and ClientKeyFile are what is shown to those that are called, if it
	// is not what is shown to callers.
	ClientCertFile, ClientKeyFile string
	// TrustedCAFile holds the authorities of clients. If it is given, or
	// ClientCertAuth is, a client without a certificate is refused; with
	// ClientCertAuth alone the system's authorities count. Both as in etcd.
	TrustedCAFile  string
	ClientCertAuth bool
	// CRLFile is a revocation list, DER or PEM: a client that shows a certificate
	// with a serial number in it is refused.
	CRLFile string
	// TrustAll has those that are called be whoever they are, as --peer-auto-tls does.
	TrustAll bool
	// AllowedNames and AllowedHosts restrict which common names, or host names of the
	// certificate, a client may have, and one that is called. Not both; empty is any.
	AllowedNames, AllowedHosts []string

	// CipherSuites are those to choose from below TLS 1.3; empty is Go's choice.
	CipherSuites []uint16
	// MinVersion and MaxVersion bound the version of TLS; zero is 1.2 and the
	// highest.
	MinVersion, MaxVersion uint16

	// Logger gets changes, failures and warnings; nil discards.
	Logger *slog.Logger
}

// verifiesClients reports whether clients must have a certificate.
func (c *Config) verifiesClients() bool { return c.TrustedCAFile != "" || c.ClientCertAuth }

// flag is the flag that a message names.
func (c *Config) flag(name string) string {
	switch {
	case !c.Peer:
		return "--" + name
	case name == "client-crl-file":
		return "--peer-crl-file"
	case name == "client-cert-allowed-cn":
		return "--peer-cert-allowed-cn"
	case name == "client-cert-allowed-hostname":
		return "--peer-cert-allowed-hostname"
	}
	return "--peer-" + name
}

// check refuses what contradicts itself.
func (c *Config) check() error {
	if (c.CertFile == "") != (c.KeyFile == "") {
		return fmt.Errorf("%s and %s: KeyFile and CertFile must both be present[key: %s, cert: %s]",
			c.flag("cert-file"), c.flag("key-file"), c.KeyFile, c.CertFile)
	}
	if (c.ClientCertFile == "") != (c.ClientKeyFile == "") {
		return fmt.Errorf("%s and %s: ClientKeyFile and ClientCertFile must both be present or both absent: key: %s, cert: %s]",
			c.flag("client-cert-file"), c.flag("client-key-file"), c.ClientKeyFile, c.ClientCertFile)
	}
	if len(c.AllowedNames) > 0 && len(c.AllowedHosts) > 0 {
		return fmt.Errorf("%s and %s cannot be given together",
			c.flag("client-cert-allowed-cn"), c.flag("client-cert-allowed-hostname"))
	}
	return nil
}

// The names of versions, as --tls-min-version has them.
const (
	TLS12 = "TLS1.2"
	TLS13 = "TLS1.3"
)

// ParseVersion returns the version of a name; zero, which leaves it to Go, for
// the empty one.
func ParseVersion(name string) (uint16, error) {
	switch name {
	case "":
		return 0, nil
	case TLS12:
		return tls.VersionTLS12, nil
	case TLS13:
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("unexpected TLS version %q (must be one of: %s, %s)", name, TLS12, TLS13)
}

// ParseSuites returns the cipher suites of IANA's names, and of the two older
// names that etcd knows.
func ParseSuites(names []string) ([]uint16, error) {
	older := map[string]uint16{
		"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	all := slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites())
	var ids []uint16
	for _, name := range names {
		i := slices.IndexFunc(all, func(s *tls.CipherSuite) bool { return s.Name == name })
		switch id, ok := older[name]; {
		case ok:
			ids = append(ids, id)
		case i < 0:
			return nil, fmt.Errorf("unexpected TLS cipher suite %q", name)
		default:
			ids = append(ids, all[i].ID)
		}
	}
	return ids, nil
}
