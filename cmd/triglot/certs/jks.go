package certs

import (
	"crypto/sha1"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"unicode/utf16"
)

// A JKS file is, in numbers of the network's order: a magic number, a version, the
// number of entries, the entries, and a SHA-1 over the password, some words, and all
// that is in front (OpenJDK sun.security.provider.JavaKeyStore).
const (
	jksMagic = 0xfeedfeed
	jksWords = "Mighty Aphrodite"
	// jksKey and jksTrusted are the kinds of entries.
	jksKey     = 1
	jksTrusted = 2
)

// jksKeyCipher is the one with which private keys are encrypted.
var jksKeyCipher = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 42, 2, 17, 1, 1}

var (
	errStoreBroken   = errors.New("it is damaged")
	errStorePassword = errors.New("the password is wrong, or it is damaged")
)

// jksStore is what is in a file.
type jksStore struct {
	keys    []jksEntry
	trusted []*x509.Certificate
}

// jksEntry is a private key, encrypted, and the certificates of it.
type jksEntry struct {
	sealed []byte
	chain  [][]byte // DER, the key's own first
}

func isJKS(content []byte) bool {
	return len(content) >= 4 && binary.BigEndian.Uint32(content) == jksMagic
}

func parseJKS(content []byte, password string) (*jksStore, error) {
	if !isJKS(content) || len(content) < 12+sha1.Size {
		return nil, errStoreBroken
	}
	body, sum := content[:len(content)-sha1.Size], content[len(content)-sha1.Size:]
	hash := sha1.New()
	hash.Write(utf16Password(password))
	hash.Write([]byte(jksWords))
	hash.Write(body)
	if subtle.ConstantTimeCompare(hash.Sum(nil), sum) != 1 {
		return nil, errStorePassword
	}
	r := jksReader{rest: body[4:]}
	r.version = r.number()
	if r.version != 1 && r.version != 2 {
		return nil, errStoreBroken
	}
	store := &jksStore{}
	for n := r.number(); n > 0 && r.err == nil; n-- {
		r.entry(store)
	}
	if r.err == nil && len(r.rest) > 0 {
		return nil, errStoreBroken
	}
	return store, r.err
}

// utf16Password is a password as Java hashes it.
func utf16Password(password string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(password)) {
		b = binary.BigEndian.AppendUint16(b, unit)
	}
	return b
}

// jksReader reads a file. After an error it reads nothing more.
type jksReader struct {
	rest    []byte
	version uint32
	err     error
}

func (r *jksReader) bytes(n uint32) []byte {
	if r.err == nil && uint64(n) > uint64(len(r.rest)) {
		r.err = errStoreBroken
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *jksReader) number() uint32 {
	b := r.bytes(4)
	if r.err != nil {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (r *jksReader) text() string {
	b := r.bytes(2)
	if r.err != nil {
		return ""
	}
	return string(r.bytes(uint32(binary.BigEndian.Uint16(b))))
}

func (r *jksReader) certificate() []byte {
	if kind := r.kindOfCertificate(); r.err == nil && kind != "X.509" && kind != "X509" {
		r.err = errors.New("a certificate in it is of the kind " + kind)
	}
	return r.bytes(r.number())
}

func (r *jksReader) kindOfCertificate() string {
	if r.version == 1 {
		return "X.509"
	}
	return r.text()
}

func (r *jksReader) entry(store *jksStore) {
	kind := r.number()
	_ = r.text()   // its alias
	_ = r.bytes(8) // when it was made
	switch kind {
	case jksKey:
		e := jksEntry{sealed: r.bytes(r.number())}
		for n := r.number(); n > 0 && r.err == nil; n-- {
			e.chain = append(e.chain, r.certificate())
		}
		store.keys = append(store.keys, e)
	case jksTrusted:
		der := r.certificate()
		if r.err != nil {
			return
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			r.err = err
			return
		}
		store.trusted = append(store.trusted, cert)
	default:
		if r.err == nil {
			r.err = errStoreBroken
		}
	}
}

// open decrypts the key: its bytes are XORed with a chain of SHA-1 over the password,
// behind a salt and before a SHA-1 of password and key (OpenJDK
// sun.security.provider.KeyProtector). What it returns is PKCS #8.
func (e *jksEntry) open(password string) ([]byte, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Sealed    []byte
	}
	if rest, err := asn1.Unmarshal(e.sealed, &info); err != nil || len(rest) > 0 {
		return nil, errStoreBroken
	}
	if !info.Algorithm.Algorithm.Equal(jksKeyCipher) {
		return nil, errors.New("its key is encrypted in a way that JKS does not have: " + info.Algorithm.Algorithm.String())
	}
	if len(info.Sealed) < 2*sha1.Size {
		return nil, errStoreBroken
	}
	secret := utf16Password(password)
	digest, sealed := info.Sealed[:sha1.Size], info.Sealed[sha1.Size:len(info.Sealed)-sha1.Size]
	key := make([]byte, 0, len(sealed))
	for i, b := range sealed {
		if i%sha1.Size == 0 {
			next := sha1.Sum(append(append([]byte{}, secret...), digest...))
			digest = next[:]
		}
		key = append(key, b^digest[i%sha1.Size])
	}
	check := sha1.Sum(append(secret, key...))
	if subtle.ConstantTimeCompare(check[:], info.Sealed[len(info.Sealed)-sha1.Size:]) != 1 {
		return nil, errors.New("the password of its key is another one than that of the store")
	}
	return key, nil
}
