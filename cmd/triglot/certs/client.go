package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// Client makes the handshake with one who is called at a host, over raw, which it closes
// if that fails. Whoever answers must be of a trusted authority and that host. A nil
// Keeper shows no certificate, and trusts the system's authorities.
func (k *Keeper) Client(ctx context.Context, raw net.Conn, host string) (net.Conn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if k != nil {
		config = k.current.Load().client.Clone()
	}
	config.ServerName = host
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // which the end of ctx may have done
		return nil, err
	}
	return conn, nil
}

// clientSide are the settings of a call. As with etcd, what is asked of the certificates
// of those who call is asked of the one who is called as well.
func (c *Config) clientSide(shown tls.Certificate, v *verifier) *tls.Config {
	return &tls.Config{
		MinVersion:         max(c.MinVersion, tls.VersionTLS12),
		MaxVersion:         c.MaxVersion,
		CipherSuites:       c.CipherSuites,
		InsecureSkipVerify: c.TrustAll, //nolint:gosec // asked for by --peer-auto-tls
		// Whatever authorities the other names: it is to say what it does not like.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil },
		VerifyConnection: func(state tls.ConnectionState) error {
			if err := v.verify(state); err != nil {
				return fmt.Errorf("of the one who was called: %w", err)
			}
			return nil
		},
	}
}
