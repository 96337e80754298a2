package server

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
	"time"
)

// PKI is a certificate authority of a test and what it has signed, as PEM files in
// Dir: ca.pem; server.pem and server-key.pem, for 127.0.0.1 and localhost; and a
// pair of files for each client.
type PKI struct {
	Dir string
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
	// next is the number of the next certificate.
	next int64
}

// NewPKI makes an authority, a certificate for servers, and one for the client
// "client".
func NewPKI(dir string) (*PKI, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	p := &PKI{Dir: dir, key: key, next: 2}
	template := p.template(1, "compat-tests CA")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	if err := p.write("ca.pem", "CERTIFICATE", der); err != nil {
		return nil, err
	}
	if err := p.sign("server", "server", x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth); err != nil {
		return nil, err
	}
	return p, p.Client("client")
}

// Client signs a client certificate with that common name: NAME.pem, NAME-key.pem.
func (p *PKI) Client(name string) error { return p.sign(name, name, x509.ExtKeyUsageClientAuth) }

// Nameless is Client for a certificate without a common name.
func (p *PKI) Nameless(file string) error { return p.sign(file, "", x509.ExtKeyUsageClientAuth) }

// Path is the path of one of the files.
func (p *PKI) Path(file string) string { return filepath.Join(p.Dir, file) }

// ClientConfig is how the named client connects; "" shows no certificate.
func (p *PKI) ClientConfig(name string) (*tls.Config, error) {
	cfg := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	cfg.RootCAs.AddCert(p.ca)
	if name == "" {
		return cfg, nil
	}
	pair, err := tls.LoadX509KeyPair(p.Path(name+".pem"), p.Path(name+"-key.pem"))
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, err
}

// Peer makes a certificate for a member, which is a server and a client of the others.
func (p *PKI) Peer() error {
	return p.sign("peer", "peer", x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
}

// PeerArgs are the flags of a member that speaks to the others by mutual TLS, with what
// Peer has made.
func (p *PKI) PeerArgs() []string {
	return []string{
		"--peer-cert-file", p.Path("peer.pem"), "--peer-key-file", p.Path("peer-key.pem"),
		"--peer-trusted-ca-file", p.Path("ca.pem"), "--peer-client-cert-auth",
	}
}

// ServerArgs are the flags of a server that serves TLS and wants client
// certificates.
func (p *PKI) ServerArgs() []string {
	return []string{
		"--cert-file", p.Path("server.pem"), "--key-file", p.Path("server-key.pem"),
		"--trusted-ca-file", p.Path("ca.pem"), "--client-cert-auth",
	}
}

func (p *PKI) template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
	}
}

func (p *PKI) sign(file, name string, usage ...x509.ExtKeyUsage) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := p.template(p.next, name)
	p.next++
	template.ExtKeyUsage = usage
	template.DNSNames = []string{"localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca, key.Public(), p.key)
	if err != nil {
		return err
	}
	if err := p.write(file+".pem", "CERTIFICATE", der); err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key) // the form that Java reads
	if err != nil {
		return err
	}
	return p.write(file+"-key.pem", "PRIVATE KEY", pkcs8)
}

func (p *PKI) write(file, kind string, der []byte) error {
	return os.WriteFile(p.Path(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
