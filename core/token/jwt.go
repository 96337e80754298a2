package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// JWT signs and checks JSON Web Tokens, with etcd's claims: username, revision and
// exp (etcd auth/jwt.go). It is immutable.
type JWT struct {
	method jwt.SigningMethod
	// sign is the key that signs, nil if tokens are made elsewhere; check is the one
	// that checks.
	sign, check any
	ttl         time.Duration
	parser      *jwt.Parser
	now         func() time.Time
}

// Sign makes the token of a user, identified under revision rev. It fails if there is
// no key to sign with.
func (j *JWT) Sign(user string, rev uint64) (string, error) {
	if j.sign == nil {
		return "", ErrVerifyOnly
	}
	return jwt.NewWithClaims(j.method, jwt.MapClaims{
		"username": user,
		"revision": rev,
		"exp":      j.now().Add(j.ttl).Unix(),
	}).SignedString(j.sign)
}

// Check says who a token proves the caller to be, and under which revision. Why one is
// not good is for an operator's log, and does not quote it.
func (j *JWT) Check(token string) (user string, rev uint64, err error) {
	parsed, err := j.parser.Parse(token, func(t *jwt.Token) (any, error) {
		if t.Method.Alg() != j.method.Alg() {
			return nil, errors.New("it is signed by another method")
		}
		return j.check, nil
	})
	if err != nil {
		return "", 0, fmt.Errorf("JWT: %w", err)
	}
	claims, _ := parsed.Claims.(jwt.MapClaims)
	user, ok := claims["username"].(string)
	if !ok {
		return "", 0, errors.New("JWT: it has no claim of a user name")
	}
	number, ok := claims["revision"].(float64)
	if !ok || number < 0 || number >= 1<<63 {
		return "", 0, errors.New("JWT: it has no claim of a revision")
	}
	return user, uint64(number), nil
}

// keys reads the keys that a signing method needs. HMAC's is the private key's file
// as it is.
func keys(method jwt.SigningMethod, private, public []byte) (sign, check any, err error) {
	switch method.(type) {
	case *jwt.SigningMethodHMAC:
		if len(private) == 0 {
			return nil, nil, ErrMissingKey
		}
		return private, private, nil
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		return pair(private, public, jwt.ParseRSAPrivateKeyFromPEM, jwt.ParseRSAPublicKeyFromPEM)
	case *jwt.SigningMethodECDSA:
		return pair(private, public, jwt.ParseECPrivateKeyFromPEM, jwt.ParseECPublicKeyFromPEM)
	case *jwt.SigningMethodEd25519:
		return pair(private, public, parseEdPrivate, parseEdPublic)
	default:
		return nil, nil, fmt.Errorf("unsupported signing method: %T", method)
	}
}

// publicKey is what all of the standard library's public keys have.
type publicKey interface{ Equal(crypto.PublicKey) bool }

// pair reads a private key, a public one, or both.
func pair[S crypto.Signer, P publicKey](
	private, public []byte, parseS func([]byte) (S, error), parseP func([]byte) (P, error),
) (sign, check any, err error) {
	var pub P
	if len(public) > 0 {
		if pub, err = parseP(public); err != nil {
			return nil, nil, err
		}
		check = pub
	}
	if len(private) == 0 {
		if check == nil {
			return nil, nil, ErrMissingKey
		}
		return nil, check, nil
	}
	key, err := parseS(private)
	if err != nil {
		return nil, nil, err
	}
	if check != nil && !pub.Equal(key.Public()) {
		return nil, nil, ErrKeyMismatch
	}
	return key, key.Public(), nil
}

func parseEdPrivate(pem []byte) (ed25519.PrivateKey, error) {
	key, err := jwt.ParseEdPrivateKeyFromPEM(pem)
	if err != nil {
		return nil, err
	}
	return key.(ed25519.PrivateKey), nil
}

func parseEdPublic(pem []byte) (ed25519.PublicKey, error) {
	key, err := jwt.ParseEdPublicKeyFromPEM(pem)
	if err != nil {
		return nil, err
	}
	return key.(ed25519.PublicKey), nil
}

var (
	_ crypto.Signer = (*rsa.PrivateKey)(nil)
	_ crypto.Signer = (*ecdsa.PrivateKey)(nil)
	_ crypto.Signer = ed25519.PrivateKey(nil)
)
