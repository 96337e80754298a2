package token

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Why a --auth-token makes no sense, in etcd's words (etcd auth/store.go).
var (
	ErrInvalidOptions = errors.New("auth: invalid auth options")
	ErrMissingKey     = errors.New("auth: missing key data")
	ErrKeyMismatch    = errors.New("auth: public and private keys don't match")
	// ErrVerifyOnly is of a login where only others can sign.
	ErrVerifyOnly = errors.New("auth: token signing attempted with verify-only key")
)

// Kind is a kind of token.
type Kind uint8

// The kinds.
const (
	// None is no token at all: only certificates say who somebody is.
	None Kind = iota
	Simple
	Signed
)

// Scheme is what --auth-token asks for.
type Scheme struct {
	Kind Kind
	// JWT is set if Kind is Signed.
	JWT *JWT
	// Unknown are options that were passed over.
	Unknown []string
}

// Parse reads a --auth-token: "simple", "jwt,pub-key=FILE,priv-key=FILE,
// sign-method=METHOD,ttl=DURATION", or nothing. now is the clock that JWTs are dated
// by. It fails with the errors above, and with what a key cannot be read for.
func Parse(spec string, now func() time.Time) (Scheme, error) {
	kind, options, err := split(spec)
	if err != nil {
		return Scheme{}, err
	}
	switch kind {
	case "":
		return Scheme{Kind: None}, nil
	case "simple":
		return Scheme{Kind: Simple}, nil
	case "jwt":
		return parseJWT(options, now)
	default:
		return Scheme{}, ErrInvalidOptions
	}
}

func split(spec string) (kind string, options map[string]string, err error) {
	kind, rest, more := strings.Cut(spec, ",")
	options = map[string]string{}
	for more {
		var option string
		option, rest, more = strings.Cut(rest, ",")
		name, value, ok := strings.Cut(option, "=")
		if _, twice := options[name]; !ok || twice || strings.Contains(value, "=") {
			return "", nil, ErrInvalidOptions
		}
		options[name] = value
	}
	return kind, options, nil
}

func parseJWT(options map[string]string, now func() time.Time) (Scheme, error) {
	j := &JWT{ttl: DefaultTTL, now: now}
	var private, public []byte
	var unknown []string
	for name, value := range options {
		var err error
		switch name {
		case "sign-method":
			j.method = jwt.GetSigningMethod(value)
		case "ttl":
			if value != "" {
				j.ttl, err = time.ParseDuration(value)
			}
		case "pub-key":
			public, err = readKey(value)
		case "priv-key":
			private, err = readKey(value)
		default:
			unknown = append(unknown, name)
		}
		if err != nil {
			return Scheme{}, fmt.Errorf("%w: %w", ErrInvalidOptions, err)
		}
	}
	if j.method == nil {
		return Scheme{}, ErrInvalidOptions
	}
	var err error
	if j.sign, j.check, err = keys(j.method, private, public); err != nil {
		return Scheme{}, err
	}
	slices.Sort(unknown)
	j.parser = jwt.NewParser(jwt.WithTimeFunc(now))
	return Scheme{Kind: Signed, JWT: j, Unknown: unknown}, nil
}

func readKey(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	return os.ReadFile(file)
}
