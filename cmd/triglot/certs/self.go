package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"
)

// maxYears bounds how long a self-signed certificate lasts.
const maxYears = 100

// SelfSigned returns the paths of a certificate and its key below dir, for
// --auto-tls. It makes them if they are not there or have ended: nobody can check
// who such a server is, so they are for development. hosts are the names and
// addresses, without ports, that clients will use; years is how long a new one
// lasts.
func SelfSigned(dir string, hosts []string, years uint64, log *slog.Logger) (certFile, keyFile string, err error) {
	if years == 0 || years > maxYears {
		return "", "", fmt.Errorf("--self-signed-cert-validity of %d years is out of range: it must be between 1 and %d", years, maxYears)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if pair, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil && time.Now().Before(pair.Leaf.NotAfter) {
		return certFile, keyFile, nil
	}
	cert, key, err := makeSelfSigned(hosts, years)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = writeFile(keyFile, "EC PRIVATE KEY", key)
	}
	if err == nil {
		err = writeFile(certFile, "CERTIFICATE", cert)
	}
	if err != nil {
		return "", "", fmt.Errorf("a certificate cannot be made in %s: %w", dir, err)
	}
	log.Warn("made a self-signed certificate, which is for development only: nobody can tell by it who this server is",
		"cert-file", certFile, "key-file", keyFile, "years", years)
	return certFile, keyFile, nil
}

func makeSelfSigned(hosts []string, years uint64) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"Triglot auto-tls, for development"}},
		NotBefore:             now.Add(-time.Minute), // clocks differ
		NotAfter:              now.AddDate(int(years), 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // so that it can be named as the authority
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, err = x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalECPrivateKey(private)
	return cert, key, err
}

// writeFile writes a PEM file that appears whole or not at all.
func writeFile(path, blockType string, der []byte) error {
	content := pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
	if err := os.WriteFile(path+".tmp", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
