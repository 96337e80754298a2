package certs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // old keys are encrypted with it
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"math/big"
)

// The names of what a private key may be encrypted with (RFC 8018, and RFC 7292 for the
// last one).
var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidPKCS12DES3 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 3}
)

// maxIterations bounds the time that a file can have its reader spend.
const maxIterations = 10_000_000

// blockCipher is a cipher, and the length of its key.
type blockCipher struct {
	size int
	make func(key []byte) (cipher.Block, error)
}

var ciphersByOID = map[string]blockCipher{
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
}

var hmacsByOID = map[string]func() hash.Hash{
	"":                    sha1.New, // the default
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.8":  sha256.New224,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
}

// openPKCS8 decrypts a private key and parses it.
func openPKCS8(der []byte, password string) (any, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Sealed    []byte
	}
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 {
		return nil, errStoreBroken
	}
	var block cipher.Block
	var iv []byte
	var err error
	switch {
	case info.Algorithm.Algorithm.Equal(oidPBES2):
		block, iv, err = pbes2(info.Algorithm.Parameters.FullBytes, password)
	case info.Algorithm.Algorithm.Equal(oidPKCS12DES3):
		block, iv, err = pkcs12DES3(info.Algorithm.Parameters.FullBytes, password)
	default:
		err = fmt.Errorf("its key is encrypted in a way that is not known here: %v", info.Algorithm.Algorithm)
	}
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(iv) != size || len(info.Sealed) == 0 || len(info.Sealed)%size != 0 {
		return nil, errStoreBroken
	}
	plain := make([]byte, len(info.Sealed))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Sealed)
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > size {
		return nil, errStorePassword
	}
	key, err := x509.ParsePKCS8PrivateKey(plain[:len(plain)-padding])
	if err != nil {
		return nil, errStorePassword
	}
	return key, nil
}

// pbes2 is the cipher of RFC 8018, 6.2.
func pbes2(parameters []byte, password string) (cipher.Block, []byte, error) {
	var p struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	var kdf struct {
		Salt       []byte
		Iterations int
		Length     int                      `asn1:"optional"`
		HMAC       pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	var iv []byte
	if _, err := asn1.Unmarshal(parameters, &p); err != nil {
		return nil, nil, errStoreBroken
	}
	if !p.KDF.Algorithm.Equal(oidPBKDF2) {
		return nil, nil, fmt.Errorf("its key is encrypted with a key derived in a way that is not known here: %v", p.KDF.Algorithm)
	}
	if _, err := asn1.Unmarshal(p.KDF.Parameters.FullBytes, &kdf); err != nil {
		return nil, nil, errStoreBroken
	}
	if _, err := asn1.Unmarshal(p.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, nil, errStoreBroken
	}
	if kdf.Iterations < 1 || kdf.Iterations > maxIterations {
		return nil, nil, errStoreBroken
	}
	c, ok := ciphersByOID[p.Cipher.Algorithm.String()]
	digest, known := hmacsByOID[kdf.HMAC.Algorithm.String()]
	if !ok || !known {
		return nil, nil, fmt.Errorf("its key is encrypted in a way that is not known here: %v with %v", p.Cipher.Algorithm, kdf.HMAC.Algorithm)
	}
	key, err := pbkdf2.Key(digest, password, kdf.Salt, kdf.Iterations, c.size)
	if err != nil {
		return nil, nil, err
	}
	block, err := c.make(key)
	return block, iv, err
}

// pkcs12DES3 is pbeWithSHAAnd3-KeyTripleDES-CBC of RFC 7292, appendix C: what older
// versions of openssl and of Java make.
func pkcs12DES3(parameters []byte, password string) (cipher.Block, []byte, error) {
	var p struct {
		Salt       []byte
		Iterations int
	}
	if _, err := asn1.Unmarshal(parameters, &p); err != nil {
		return nil, nil, errStoreBroken
	}
	if p.Iterations < 1 || p.Iterations > maxIterations || len(p.Salt) == 0 {
		return nil, nil, errStoreBroken
	}
	secret := append(utf16Password(password), 0, 0)
	block, err := des.NewTripleDESCipher(pkcs12Key(1, 24, secret, p.Salt, p.Iterations))
	return block, pkcs12Key(2, 8, secret, p.Salt, p.Iterations), err
}

// pkcs12Key derives bytes for a purpose from a password (RFC 7292, B.2), by SHA-1.
func pkcs12Key(purpose byte, size int, secret, salt []byte, iterations int) []byte {
	const block = sha1.BlockSize
	fill := func(s []byte) []byte {
		filled := make([]byte, (len(s)+block-1)/block*block)
		for i := range filled {
			filled[i] = s[i%len(s)]
		}
		return filled
	}
	diversifier := make([]byte, block)
	for i := range diversifier {
		diversifier[i] = purpose
	}
	in := append(fill(salt), fill(secret)...)
	one, modulus := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 8*block)
	var out []byte
	for {
		a := sha1.Sum(append(append([]byte{}, diversifier...), in...))
		for range iterations - 1 {
			a = sha1.Sum(a[:])
		}
		if out = append(out, a[:]...); len(out) >= size {
			return out[:size]
		}
		b := new(big.Int).SetBytes(fill(a[:])[:block])
		b.Add(b, one)
		for i := 0; i < len(in); i += block {
			n := new(big.Int).SetBytes(in[i : i+block])
			n.Add(n, b).Mod(n, modulus).FillBytes(in[i : i+block])
		}
	}
}

// keyFromPKCS8 parses a private key that is not encrypted.
func keyFromPKCS8(der []byte) (any, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("its private key is none that TLS can use: RSA, EC and Ed25519 keys are")
	}
	return key, nil
}
