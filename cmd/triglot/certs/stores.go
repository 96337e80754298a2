package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"
)

// Stores says where the certificates of ZooKeeper's port are and whom they let in. Each
// field is a property of ZooKeeper's, zookeeper.ssl.*, as it is written; the zero value
// of all but Key is ZooKeeper's default.
type Stores struct {
	// Quorum says that they are those of the servers among each other,
	// zookeeper.ssl.quorum.*.
	Quorum     bool
	Key, Trust Store
	// ClientAuth is need, want or none (ssl.clientAuth); empty is need. Without a trust
	// store no certificate of a client's is good.
	ClientAuth string
	// Protocol is one version (ssl.protocol), EnabledProtocols several with commas
	// between them (ssl.enabledProtocols), which count if both are given. If none is,
	// TLS 1.2 and 1.3 are taken. CipherSuites are Java's names (ssl.ciphersuites).
	Protocol, EnabledProtocols, CipherSuites string
	// VerifyHosts has the certificate of a client name its address, or the name that its
	// address has (ssl.clientHostnameVerification, unless ssl.hostnameVerification is
	// false); the name counts if ReverseLookup is set (ssl.allowReverseDnsLookup).
	VerifyHosts, ReverseLookup bool
	// AnyServer takes the certificate of a server that is called although it does not name
	// the host at which it was called (ssl.quorum.hostnameVerification=false).
	AnyServer bool
	// CRL and OCSP ask whether certificates are revoked (ssl.crl, ssl.ocsp). There is no
	// such thing here: they are refused.
	CRL, OCSP bool

	// Logger gets changes, failures and warnings; nil discards.
	Logger *slog.Logger
}

// LoadStores reads the stores and watches them until Keeper.Close. What cannot be used
// is an error that names the property and the file, and no password.
func LoadStores(s Stores) (*Keeper, error) {
	s.Key.property, s.Trust.property = s.property("keyStore"), s.property("trustStore")
	log := orDiscard(s.Logger)
	v, err := s.versions()
	if err != nil {
		return nil, err
	}
	auth, err := s.clientAuth()
	if err != nil {
		return nil, err
	}
	if len(v.ignored) > 0 {
		log.Warn("names in "+s.property("protocol")+", enabledProtocols or ciphersuites are not known here and left out",
			"names", strings.Join(v.ignored, ","))
	}
	switch {
	case s.Trust.Path != "":
	case auth == tls.RequireAndVerifyClientCert:
		log.Warn(s.property("trustStore.location")+" is not given, and clients need a certificate: all are refused", s.property("clientAuth"), "need")
	case auth != tls.NoClientCert:
		log.Warn(s.property("trustStore.location")+" is not given: clients with a certificate are refused", s.property("clientAuth"), s.ClientAuth)
	}
	return keep(&storeSource{Stores: s, versions: v, auth: auth}, log)
}

// property is the name of a property of ZooKeeper's.
func (s *Stores) property(name string) string {
	if s.Quorum {
		return "ssl.quorum." + name
	}
	return "ssl." + name
}

// storeSource is a source of certificates.
type storeSource struct {
	Stores
	versions versions
	auth     tls.ClientAuthType
}

// clientAuth checks the settings of clients' certificates.
func (s *Stores) clientAuth() (tls.ClientAuthType, error) {
	switch {
	case s.Key.Path == "":
		return 0, errors.New(s.property("keyStore.location") + " must be given: TLS needs a key")
	case s.CRL:
		return 0, errors.New(s.property("crl") + "=true: revocation lists are not looked at here; take it out, and leave revoked clients out of the trust store")
	case s.OCSP:
		return 0, errors.New(s.property("ocsp") + "=true: OCSP is not asked here; take it out, and leave revoked clients out of the trust store")
	}
	switch strings.ToLower(s.ClientAuth) {
	case "", "need":
		return tls.RequireAndVerifyClientCert, nil
	case "want":
		return tls.VerifyClientCertIfGiven, nil
	case "none":
		return tls.NoClientCert, nil
	}
	return 0, fmt.Errorf("%s=%s is none of need, want and none", s.property("clientAuth"), s.ClientAuth)
}

// read implements source.
func (s *storeSource) read() (f files, sum [sha256.Size]byte, err error) {
	f = make(files)
	hash := sha256.New()
	for _, file := range []struct{ property, path string }{
		{s.Key.property + ".location", s.Key.Path},
		{s.Key.property + ".passwordPath", s.Key.PasswordPath},
		{s.Trust.property + ".location", s.Trust.Path},
		{s.Trust.property + ".passwordPath", s.Trust.PasswordPath},
	} {
		if file.path == "" {
			continue
		}
		content, readErr := os.ReadFile(file.path)
		f[file.property] = content
		part := sha256.Sum256(content)
		hash.Write(part[:])
		if readErr != nil && err == nil {
			err = fmt.Errorf("%s: %w", file.property, readErr)
			hash.Write([]byte(err.Error()))
		}
	}
	return f, [sha256.Size]byte(hash.Sum(nil)), err
}

// parse implements source.
func (s *storeSource) parse(f files) (*loaded, error) {
	identities, err := s.Key.identity(f[s.Key.property+".location"], s.Key.password(f))
	if err != nil {
		return nil, s.Key.wrap(err)
	}
	l := &loaded{server: &tls.Config{
		Certificates: identities,
		MinVersion:   s.versions.min,
		MaxVersion:   s.versions.max,
		CipherSuites: s.versions.suites,
		ClientAuth:   s.auth,
		// A resumed session would outlive the authorities that it was checked against.
		SessionTicketsDisabled: true,
	}}
	for i := range identities {
		for _, der := range identities[i].Certificate {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, s.Key.wrap(err)
			}
			l.watched = append(l.watched, watched{s.Key.Path, cert})
		}
	}
	l.client = s.clientSide(identities)
	if s.auth == tls.NoClientCert && !s.Quorum {
		return l, nil
	}
	l.server.ClientCAs = x509.NewCertPool() // and not the system's
	if s.VerifyHosts {
		l.server.GetConfigForClient = s.hostChecked(l.server)
	}
	if s.Trust.Path == "" {
		return l, nil
	}
	trusted, err := s.Trust.authorities(f[s.Trust.property+".location"], s.Trust.password(f))
	if err != nil {
		return nil, s.Trust.wrap(err)
	}
	for _, cert := range trusted {
		l.server.ClientCAs.AddCert(cert)
		l.client.RootCAs.AddCert(cert)
		l.watched = append(l.watched, watched{s.Trust.Path, cert})
	}
	return l, nil
}

// clientSide are the settings with which another server is called, who must be of an
// authority in the trust store, which is the caller's to fill in.
func (s *storeSource) clientSide(identities []tls.Certificate) *tls.Config {
	roots := x509.NewCertPool() // and not the system's
	c := &tls.Config{
		MinVersion:   s.versions.min,
		MaxVersion:   s.versions.max,
		CipherSuites: s.versions.suites,
		RootCAs:      roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &identities[0], nil // the first, as Java does where one is as good as another
		},
	}
	if s.AnyServer {
		c.InsecureSkipVerify = true //nolint:gosec // asked for; the authority is looked at
		c.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state.PeerCertificates, roots) }
	}
	return c
}

// verifyChain refuses certificates that do not lead to one of the authorities.
func verifyChain(chain []*x509.Certificate, roots *x509.CertPool) error {
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] { // a server shows one at least
		intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
	return err
}

// lookupTimeout bounds the look for the name of a client's address.
const lookupTimeout = 5 * time.Second

// hostChecked returns what makes the settings of one handshake: config, and a check of
// the client's certificate against the address that it comes from.
func (s *storeSource) hostChecked(config *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	reverse := s.ReverseLookup
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		checked := config.Clone()
		address := hello.Conn.RemoteAddr().String()
		checked.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return nil
			}
			return checkHost(net.DefaultResolver, state.PeerCertificates[0], address, reverse)
		}
		return checked, nil
	}
}

// checkHost refuses a certificate that names neither the address of the client nor, if
// reverse is set, the name of that (ZooKeeper 3.9 ZKTrustManager).
func checkHost(dns Resolver, cert *x509.Certificate, address string, reverse bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	err = cert.VerifyHostname(host)
	if err == nil || !reverse {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	names, lookupErr := dns.LookupAddr(ctx, host)
	for _, name := range names {
		if cert.VerifyHostname(strings.TrimSuffix(name, ".")) == nil {
			return nil
		}
	}
	return errors.Join(err, lookupErr)
}
