package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// verifier checks what is asked of clients beyond a certificate of a trusted
// authority.
type verifier struct {
	names, hosts []string
	revoked      map[string]bool // by the bytes of the serial number
}

// verify is for tls.Config.VerifyConnection.
func (v *verifier) verify(state tls.ConnectionState) error {
	for _, cert := range state.PeerCertificates {
		if v.revoked[string(cert.SerialNumber.Bytes())] {
			return fmt.Errorf("certificate serial %x revoked", cert.SerialNumber)
		}
	}
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		if len(v.names) > 0 || len(v.hosts) > 0 {
			return errors.New("client certificate authentication failed: there is no verified certificate")
		}
		return nil
	}
	leaf := state.VerifiedChains[0][0]
	name := leaf.Subject.CommonName
	if len(v.names) > 0 && !slices.Contains(v.names, name) {
		return fmt.Errorf("client certificate authentication failed: the common name %q is not allowed", name)
	}
	matches := func(host string) bool { return leaf.VerifyHostname(host) == nil }
	if len(v.hosts) > 0 && !slices.ContainsFunc(v.hosts, matches) {
		return fmt.Errorf("client certificate authentication failed: it is for none of the allowed host names %q", v.hosts)
	}
	return nil
}

// Resolver is the part of net.Resolver that CheckAddress needs.
type Resolver interface {
	LookupAddr(ctx context.Context, addr string) ([]string, error)
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// CheckAddress refuses a client whose certificate names addresses or hosts of
// which its own address is none. etcd asks it of peers, and of clients of the
// metrics' addresses.
func CheckAddress(ctx context.Context, dns Resolver, cert *x509.Certificate, address string) error {
	if len(cert.IPAddresses) == 0 && len(cert.DNSNames) == 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if len(cert.IPAddresses) > 0 {
		err := cert.VerifyHostname(host)
		if err == nil || len(cert.DNSNames) == 0 {
			return err
		}
	}
	found, err := isOneOf(ctx, dns, host, cert.DNSNames)
	switch {
	case found:
		return nil
	case err != nil:
		return fmt.Errorf("%q does not match any of the certificate's DNS names %q (%w)", host, cert.DNSNames, err)
	}
	return fmt.Errorf("%q does not match any of the certificate's DNS names %q", host, cert.DNSNames)
}

// isOneOf reports whether an address has one of the names: by what it resolves
// to, and by what they resolve to.
func isOneOf(ctx context.Context, dns Resolver, address string, names []string) (bool, error) {
	reverse, err := dns.LookupAddr(ctx, address)
	for _, found := range reverse {
		found = strings.TrimSuffix(found, ".")
		for _, name := range names {
			suffix, wild := strings.CutPrefix(name, "*")
			if found == name || wild && strings.HasPrefix(suffix, ".") && strings.HasSuffix(found, suffix) {
				return true, nil
			}
		}
	}
	for _, name := range names {
		if strings.HasPrefix(name, "*.") {
			continue
		}
		addresses, lookupErr := dns.LookupHost(ctx, name)
		if lookupErr != nil {
			err = lookupErr
		}
		if slices.Contains(addresses, address) {
			return true, nil
		}
	}
	return false, err
}
