// Package certstest makes certificates for tests: authorities, servers, clients and
// revocation lists. It is for tests only.
package certstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Authority is a certificate authority in a directory of its own.
type Authority struct {
	t    *testing.T
	dir  string
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64 // serial number
}

// New makes an authority: its certificate is the file ca.pem.
func New(t *testing.T) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir(), last: 1}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.key = key
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	a.Cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.Write("ca.pem", "CERTIFICATE", der)
	return a
}

// Path is that of a file of the authority.
func (a *Authority) Path(name string) string { return filepath.Join(a.dir, name) }

// Write writes a PEM file and returns its path.
func (a *Authority) Write(name, kind string, der []byte) string {
	a.t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	require.NoError(a.t, os.WriteFile(a.Path(name), text, 0o600))
	return a.Path(name)
}

// Localhost is a server on this host.
var Localhost = Subject{Name: "server", DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}

// Subject is who a certificate is for, and for how long.
type Subject struct {
	Name  string // the common name
	DNS   []string
	IPs   []net.IP
	Until time.Time // a year from now if zero
}

// Issue writes name.pem and name.key, and returns the certificate.
func (a *Authority) Issue(name string, s Subject) *x509.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	a.last++
	if s.Until.IsZero() {
		s.Until = time.Now().AddDate(1, 0, 0)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: s.Name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: s.Until,
		DNSNames: s.DNS, IPAddresses: s.IPs,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	a.Write(name+".pem", "CERTIFICATE", der)
	a.Write(name+".key", "EC PRIVATE KEY", private)
	return cert
}

// Revoke writes a revocation list, and returns it as DER.
func (a *Authority) Revoke(name string, certs ...*x509.Certificate) []byte {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Cert, a.key)
	require.NoError(a.t, err)
	require.NoError(a.t, os.WriteFile(a.Path(name), der, 0o600))
	return der
}

// Client are the settings of a client that trusts the authority, with the
// certificate of that name if there is one.
func (a *Authority) Client(name string) *tls.Config {
	a.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	c := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(a.Path(name+".pem"), a.Path(name+".key"))
		require.NoError(a.t, err)
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}
