package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// files are the contents of the files that a Config names.
type files map[string][]byte

// role is one of the files: the flag that names it and its path.
type role struct{ flag, path string }

func (c *Config) roles() []role {
	var roles []role
	for _, r := range []role{
		{"cert-file", c.CertFile},
		{"key-file", c.KeyFile},
		{"client-cert-file", c.ClientCertFile},
		{"client-key-file", c.ClientKeyFile},
		{"trusted-ca-file", c.TrustedCAFile},
		{"client-crl-file", c.CRLFile},
	} {
		if r.path != "" {
			roles = append(roles, r)
		}
	}
	return roles
}

// read reads the files. The sum tells contents, and failures to read, apart.
func (c *Config) read() (f files, sum [sha256.Size]byte, err error) {
	f = make(files)
	hash := sha256.New()
	for _, r := range c.roles() {
		content, readErr := os.ReadFile(r.path)
		f[r.flag] = content
		part := sha256.Sum256(content)
		hash.Write(part[:])
		if readErr != nil && err == nil {
			err = fmt.Errorf("%s: %w", c.flag(r.flag), readErr)
			hash.Write([]byte(err.Error()))
		}
	}
	return f, [sha256.Size]byte(hash.Sum(nil)), err
}

// loaded is what files hold: the settings of a handshake, and the certificates
// whose end is watched.
type loaded struct {
	server  *tls.Config
	client  *tls.Config // without the name of the one who is called
	watched []watched
}

// watched is a certificate and the file that it is from.
type watched struct {
	path string
	cert *x509.Certificate
}

// parse makes sense of the files. What does not fit together is an error that
// names the flags.
func (c *Config) parse(f files) (*loaded, error) {
	var l loaded
	cert, shown, err := c.identities(&l, f)
	if err != nil {
		return nil, err
	}
	v := verifier{names: c.AllowedNames, hosts: c.AllowedHosts}
	if c.CRLFile != "" {
		if v.revoked, err = parseCRL(f["client-crl-file"]); err != nil {
			return nil, fmt.Errorf("%s %s: %w", c.flag("client-crl-file"), c.CRLFile, err)
		}
	}
	l.server = &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   max(c.MinVersion, tls.VersionTLS12),
		MaxVersion:   c.MaxVersion,
		CipherSuites: c.CipherSuites,
		NextProtos:   []string{"h2", "http/1.1"},
	}
	l.client = c.clientSide(shown, &v)
	if !c.verifiesClients() {
		return &l, nil
	}
	l.server.ClientAuth = tls.RequireAndVerifyClientCert
	l.server.VerifyConnection = v.verify
	// A resumed session would outlive the authorities that it was checked against.
	l.server.SessionTicketsDisabled = true
	if c.TrustedCAFile != "" {
		l.server.ClientCAs, err = l.authorities(c.TrustedCAFile, f["trusted-ca-file"])
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", c.flag("trusted-ca-file"), c.TrustedCAFile, err)
		}
		l.client.RootCAs = l.server.ClientCAs
	}
	return &l, nil
}

// identities are what is shown to callers, and to those that are called.
func (c *Config) identities(l *loaded, f files) (cert, shown tls.Certificate, err error) {
	if c.CertFile == "" {
		return cert, shown, nil
	}
	if cert, err = c.pair(l, f, "cert-file", "key-file"); err != nil || c.ClientCertFile == "" {
		return cert, cert, err
	}
	shown, err = c.pair(l, f, "client-cert-file", "client-key-file")
	return cert, shown, err
}

// pair makes a certificate of the files of two flags.
func (c *Config) pair(l *loaded, f files, certFlag, keyFlag string) (tls.Certificate, error) {
	paths := make(map[string]string)
	for _, r := range c.roles() {
		paths[r.flag] = r.path
	}
	pair, err := tls.X509KeyPair(f[certFlag], f[keyFlag])
	if err != nil {
		return pair, fmt.Errorf("%s %s and %s %s: %w", c.flag(certFlag), paths[certFlag], c.flag(keyFlag), paths[keyFlag], err)
	}
	for _, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return pair, fmt.Errorf("%s %s: %w", c.flag(certFlag), paths[certFlag], err)
		}
		l.watched = append(l.watched, watched{paths[certFlag], cert})
	}
	return pair, nil
}

// authorities makes a pool of the certificates in a file, of which there must be
// one.
func (l *loaded) authorities(path string, content []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	found := false
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		pool.AddCert(cert)
		l.watched = append(l.watched, watched{path, cert})
		found = true
	}
	if !found {
		return nil, errors.New("there is no certificate in it")
	}
	return pool, nil
}

// parseCRL returns the serial numbers in a revocation list, DER or PEM.
func parseCRL(content []byte) (map[string]bool, error) {
	revoked := make(map[string]bool)
	add := func(der []byte) error {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return err
		}
		for _, entry := range list.RevokedCertificateEntries {
			revoked[string(entry.SerialNumber.Bytes())] = true
		}
		return nil
	}
	if !bytes.Contains(content, []byte("-----BEGIN X509 CRL-----")) {
		return revoked, add(content)
	}
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if err := add(block.Bytes); err != nil {
			return nil, err
		}
	}
	return revoked, nil
}
