package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// The types of stores, as ssl.keyStore.type has them. Java tells JKS and PKCS12 apart by
// their content, whichever of the two is asked for, and so does this package.
const (
	storeJKS    = "JKS"
	storePEM    = "PEM"
	storePKCS12 = "PKCS12"
)

// storeExtensions are the types of files without one that is given (ZooKeeper 3.9
// KeyStoreFileType).
var storeExtensions = map[string]string{".jks": storeJKS, ".pem": storePEM, ".p12": storePKCS12, ".bcfks": "BCFKS"}

// Store is a key store or a trust store, as ZooKeeper's properties name it.
type Store struct {
	// Path is the file (ssl.keyStore.location); empty is none.
	Path string
	// Type is JKS, PEM or PKCS12 (ssl.keyStore.type); empty goes by the file's name.
	Type string
	// Password is that of the store (ssl.keyStore.password). PasswordPath is a file with
	// it, which counts if both are given (ssl.keyStore.passwordPath).
	Password, PasswordPath string

	property string // ssl.keyStore or ssl.trustStore
}

// kind is the type of the store.
func (s *Store) kind() (string, error) {
	kind := strings.ToUpper(s.Type)
	if kind == "" {
		if kind = storeExtensions[filepath.Ext(s.Path)]; kind == "" {
			return "", fmt.Errorf("its name does not tell its type: let it end in .jks, .pem or .p12, or set %s.type", s.property)
		}
	}
	switch kind {
	case storeJKS, storePEM, storePKCS12:
		return kind, nil
	}
	return "", fmt.Errorf("%s.type=%s is not known here: JKS, PEM and PKCS12 are", s.property, kind)
}

// wrap names the store in an error.
func (s *Store) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s.location %s: %w", s.property, s.Path, err)
}

// password is the store's, without the line's end that a file of it may have.
func (s *Store) password(f files) string {
	if s.PasswordPath == "" {
		return s.Password
	}
	return strings.TrimSuffix(string(f[s.property+".passwordPath"]), "\n")
}

// identity returns the key in a key store and its certificates, the key's own first. Of
// several keys it returns all.
func (s *Store) identity(content []byte, password string) ([]tls.Certificate, error) {
	kind, err := s.kind()
	if err != nil {
		return nil, err
	}
	switch {
	case kind == storePEM:
		return pemIdentity(content, password)
	case isJKS(content):
		return jksIdentity(content, password)
	}
	return pkcs12Identity(content, password)
}

// authorities returns the certificates in a trust store.
func (s *Store) authorities(content []byte, password string) ([]*x509.Certificate, error) {
	kind, err := s.kind()
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	switch {
	case kind == storePEM:
		found, err = pemCertificates(content)
	case isJKS(content):
		var store *jksStore
		if store, err = parseJKS(content, password); err == nil {
			found = store.trusted
		}
	case isSequence(content):
		found, err = pkcs12.DecodeTrustStore(content, password)
		err = plainPKCS12(err)
	default:
		err = errNoStore
	}
	if err == nil && len(found) == 0 {
		err = errors.New("there is no trusted certificate in it")
	}
	return found, err
}

func pemCertificates(content []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// pemIdentity takes the first key of a file, and all its certificates.
func pemIdentity(content []byte, password string) ([]tls.Certificate, error) {
	certs, err := pemCertificates(content)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		var key any
		switch block.Type {
		case "ENCRYPTED PRIVATE KEY":
			key, err = openPKCS8(block.Bytes, password)
		case "PRIVATE KEY":
			key, err = keyFromPKCS8(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		identity, err := match(key, certs)
		return []tls.Certificate{identity}, err
	}
	return nil, errors.New("there is no private key in it")
}

func jksIdentity(content []byte, password string) ([]tls.Certificate, error) {
	store, err := parseJKS(content, password)
	if err != nil {
		return nil, err
	}
	var all []tls.Certificate
	for i := range store.keys {
		e := &store.keys[i]
		der, err := e.open(password)
		if err != nil {
			return nil, err
		}
		key, err := keyFromPKCS8(der)
		if err != nil {
			return nil, err
		}
		certs, err := x509.ParseCertificates(bytes.Join(e.chain, nil))
		if err != nil {
			return nil, err
		}
		identity, err := match(key, certs)
		if err != nil {
			return nil, err
		}
		all = append(all, identity)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no private key in it")
	}
	return all, nil
}

func pkcs12Identity(content []byte, password string) ([]tls.Certificate, error) {
	if !isSequence(content) {
		return nil, errNoStore
	}
	key, cert, more, err := pkcs12.DecodeChain(content, password)
	if err != nil {
		return nil, plainPKCS12(err)
	}
	identity, err := match(key, append([]*x509.Certificate{cert}, more...))
	return []tls.Certificate{identity}, err
}

var errNoStore = errors.New("it is neither a JKS nor a PKCS12 store")

// isSequence says whether content may be DER.
func isSequence(content []byte) bool { return len(content) > 0 && content[0] == 0x30 }

// plainPKCS12 says what to do about the errors of the library that have a cure.
func plainPKCS12(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return errStorePassword
	case strings.Contains(err.Error(), "exactly one key bag"):
		return errors.New("there is more than one key in it: leave one")
	case strings.Contains(err.Error(), "only certificate bags"), strings.Contains(err.Error(), "not marked as trusted"), strings.Contains(err.Error(), "items in the authenticated safe"):
		return errors.New("there is something else in it than trusted certificates: make a store of them alone (keytool -importcert)")
	}
	return err
}

// match finds the certificate of a key, and those that vouch for it, in the order in
// which a handshake sends them.
func match(key any, certs []*x509.Certificate) (tls.Certificate, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return tls.Certificate{}, errors.New("its private key is none that TLS can use")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return tls.Certificate{}, errors.New("its private key is none that TLS can use")
	}
	i := slices.IndexFunc(certs, func(c *x509.Certificate) bool { return public.Equal(c.PublicKey) })
	if i < 0 {
		return tls.Certificate{}, errors.New("there is no certificate of its private key in it")
	}
	identity := tls.Certificate{PrivateKey: key, Leaf: certs[i]}
	for last := certs[i]; last != nil; {
		identity.Certificate = append(identity.Certificate, last.Raw)
		next := -1
		if !bytes.Equal(last.RawIssuer, last.RawSubject) && len(identity.Certificate) <= len(certs) {
			next = slices.IndexFunc(certs, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, last.RawIssuer) })
		}
		if next < 0 {
			break
		}
		last = certs[next]
	}
	return identity, nil
}
