package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// clock is one that stands still.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func TestSecrets(t *testing.T) {
	seen := map[core.SecretHash]bool{}
	for range 1000 {
		s := NewSecret()
		require.Regexp(t, regexp.MustCompile(`^[a-zA-Z]{16}\.18446744073709551615$`), s.Token(1<<64-1))
		require.False(t, seen[s.Hash()])
		seen[s.Hash()] = true
	}
}

func TestTableOfTokens(t *testing.T) {
	c := newClock()
	table := NewTable(10*time.Second, c.now)
	good := func(token, want string) {
		t.Helper()
		user, _, ok := table.Lookup(token)
		require.Equal(t, want != "", ok)
		require.Equal(t, want, user)
	}
	a, b, other := NewSecret(), NewSecret(), NewSecret()
	table.Grant("alice", a.Hash(), 7)
	table.Grant("alice", b.Hash(), 8)
	table.Grant("bob", other.Hash(), 9)
	good(a.Token(7), "alice")
	good(b.Token(8), "alice")
	good(other.Token(9), "bob")
	for _, bad := range []string{"", ".", ".7", string(a), a.Token(8), a.Token(7) + ".1", a.Token(7) + " ", string(a) + ".07", "Bearer " + a.Token(7), string(a) + ".-7"} {
		good(bad, "")
	}
	_, index, ok := table.Lookup(NewSecret().Token(77))
	require.False(t, ok)
	require.EqualValues(t, 77, index, "it may be granted yet")
	_, index, _ = table.Lookup("nonsense.77")
	require.Zero(t, index, "it will never be")

	for range 5 { // used, it goes on
		c.t = c.t.Add(9 * time.Second)
		good(a.Token(7), "alice")
	}
	good(other.Token(9), "")
	table.Grant("bob", other.Hash(), 10)
	require.Len(t, table.tokens, 2, "those that ran out are forgotten")

	table.Revoke("alice")
	good(a.Token(7), "")
	good(other.Token(10), "bob")
	table.Clear()
	good(other.Token(10), "")
	require.Equal(t, DefaultTTL, NewTable(0, c.now).ttl)
}

// keyFiles are a private key's file and its public key's.
func keyFiles(t *testing.T, dir, name string, private crypto.Signer) (priv, pub string) {
	write := func(file, kind string, der []byte, err error) string {
		require.NoError(t, err)
		file = filepath.Join(dir, file)
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return file
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	priv = write(name, "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(private.Public())
	return priv, write(name+".pub", "PUBLIC KEY", der, err)
}

type files struct{ rsa, rsaPub, otherPub, ec, ecPub, ed, edPub, hmac string }

func makeKeys(t *testing.T) (f files) {
	dir := t.TempDir()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	f.rsa, f.rsaPub = keyFiles(t, dir, "rsa", rsaKey)
	otherKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, f.otherPub = keyFiles(t, dir, "other", otherKey)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	f.ec, f.ecPub = keyFiles(t, dir, "ec", ecKey)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	f.ed, f.edPub = keyFiles(t, dir, "ed", edKey)
	f.hmac = filepath.Join(dir, "hmac")
	require.NoError(t, os.WriteFile(f.hmac, []byte("a key of some length"), 0o600))
	return f
}

func TestJWT(t *testing.T) {
	f, c := makeKeys(t), newClock()
	for method, c2 := range map[string][2]string{
		"RS256": {f.rsa, f.rsaPub}, "RS512": {f.rsa, f.rsaPub}, "PS384": {f.rsa, f.rsaPub},
		"ES256": {f.ec, f.ecPub}, "EdDSA": {f.ed, f.edPub}, "HS256": {f.hmac, ""},
	} {
		private, public := c2[0], c2[1]
		t.Run(method, func(t *testing.T) {
			scheme, err := Parse(fmt.Sprintf("jwt,sign-method=%s,priv-key=%s,ttl=1m,odd=1", method, private), c.now)
			require.NoError(t, err)
			require.Equal(t, Signed, scheme.Kind)
			require.Equal(t, []string{"odd"}, scheme.Unknown)
			signed, err := scheme.JWT.Sign("alice", 12)
			require.NoError(t, err)
			checkers := []*JWT{scheme.JWT}
			if public != "" {
				for _, options := range []string{"", ",priv-key=" + private} {
					other, err := Parse(fmt.Sprintf("jwt,sign-method=%s,pub-key=%s%s", method, public, options), c.now)
					require.NoError(t, err)
					checkers = append(checkers, other.JWT)
				}
				_, err := checkers[1].Sign("alice", 12)
				require.Equal(t, ErrVerifyOnly, err)
			}
			for _, j := range checkers {
				user, rev, err := j.Check(signed)
				require.NoError(t, err)
				require.Equal(t, "alice", user)
				require.EqualValues(t, 12, rev)
				_, _, err = j.Check(signed[:len(signed)-2] + "xx")
				require.Error(t, err)
			}
			later := &clock{c.t.Add(61 * time.Second)}
			late, err := Parse(fmt.Sprintf("jwt,sign-method=%s,priv-key=%s", method, private), later.now)
			require.NoError(t, err)
			_, _, err = late.JWT.Check(signed)
			require.ErrorIs(t, err, jwt.ErrTokenExpired)
			require.NotContains(t, err.Error(), signed)
		})
	}
}

// A token is not good because it says by which method it is to be checked.
func TestJWTOfAnotherMethod(t *testing.T) {
	f, c := makeKeys(t), newClock()
	scheme, err := Parse("jwt,sign-method=RS256,pub-key="+f.rsaPub, c.now)
	require.NoError(t, err)
	public, err := os.ReadFile(f.rsaPub)
	require.NoError(t, err)
	claims := jwt.MapClaims{"username": "root", "revision": 1, "exp": c.t.Add(time.Hour).Unix()}
	forged, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(public)
	require.NoError(t, err)
	_, _, err = scheme.JWT.Check(forged)
	require.Error(t, err)
	forged, err = jwt.NewWithClaims(jwt.SigningMethodNone, claims).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	_, _, err = scheme.JWT.Check(forged)
	require.Error(t, err)

	scheme, err = Parse("jwt,sign-method=HS256,priv-key="+f.hmac, c.now)
	require.NoError(t, err)
	other, err := jwt.NewWithClaims(jwt.SigningMethodHS512, claims).SignedString([]byte("a key of some length"))
	require.NoError(t, err)
	_, _, err = scheme.JWT.Check(other)
	require.ErrorContains(t, err, "another method", "though the key is right")
}

func TestJWTWithoutClaims(t *testing.T) {
	f, c := makeKeys(t), newClock()
	scheme, err := Parse("jwt,sign-method=HS256,priv-key="+f.hmac, c.now)
	require.NoError(t, err)
	for _, claims := range []jwt.MapClaims{
		{},
		{"username": "u"},
		{"revision": 1},
		{"username": 1, "revision": 1},
		{"username": "u", "revision": "1"},
		{"username": "u", "revision": -1},
		{"username": "u", "revision": core.AnyAuthRev},
	} {
		signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("a key of some length"))
		require.NoError(t, err)
		_, _, err = scheme.JWT.Check(signed)
		require.Error(t, err, "%v", claims)
	}
	for _, nonsense := range []string{"", "a.b.c", NewSecret().Token(1)} {
		_, _, err = scheme.JWT.Check(nonsense)
		require.Error(t, err)
	}
}

// What makes no sense is refused in etcd's words.
func TestSpecs(t *testing.T) {
	f, c := makeKeys(t), newClock()
	for spec, want := range map[string]string{
		"simple": "", "": "", "simple,x=y": "",
		"simple,x":                               "auth: invalid auth options",
		"jwt,sign-method=RS256=x":                "auth: invalid auth options",
		"jwt,ttl=1s,ttl=1s":                      "auth: invalid auth options",
		"bearer":                                 "auth: invalid auth options",
		"jwt":                                    "auth: invalid auth options",
		"jwt,sign-method=X":                      "auth: invalid auth options",
		"jwt,sign-method=RS256,pub-key=/nowhere": "auth: invalid auth options: open /nowhere: no such file or directory",
		"jwt,sign-method=RS256,ttl=1":            "auth: invalid auth options: time: missing unit in duration \"1\"",
		"jwt,sign-method=RS256":                  "auth: missing key data",
		"jwt,sign-method=HS256,pub-key=" + f.rsaPub:                          "auth: missing key data",
		"jwt,sign-method=none,priv-key=" + f.rsa:                             "unsupported signing method: *jwt.signingMethodNone",
		"jwt,sign-method=RS256,priv-key=" + f.hmac:                           "invalid key: Key must be a PEM encoded PKCS1 or PKCS8 key",
		"jwt,sign-method=RS256,priv-key=" + f.ec:                             "key is not a valid RSA private key",
		"jwt,sign-method=ES256,pub-key=" + f.rsaPub:                          "key is not a valid ECDSA public key",
		"jwt,sign-method=EdDSA,pub-key=" + f.rsaPub:                          "key is not a valid Ed25519 public key",
		"jwt,sign-method=EdDSA,priv-key=" + f.rsa:                            "key is not a valid Ed25519 private key",
		"jwt,sign-method=RS256,pub-key=,priv-key=" + f.rsa:                   "",
		"jwt,sign-method=RS256,pub-key=" + f.otherPub + ",priv-key=" + f.rsa: "auth: public and private keys don't match",
	} {
		_, err := Parse(spec, c.now)
		if want == "" {
			require.NoError(t, err, spec)
		} else {
			require.EqualError(t, err, want, spec)
		}
	}
	for spec, want := range map[string]Kind{"": None, "simple": Simple} {
		scheme, err := Parse(spec, c.now)
		require.NoError(t, err)
		require.Equal(t, want, scheme.Kind)
	}
}

func FuzzLookup(f *testing.F) {
	c := newClock()
	table := NewTable(time.Minute, c.now)
	s := NewSecret()
	table.Grant("alice", s.Hash(), 5)
	f.Add(s.Token(5))
	f.Add(".")
	f.Fuzz(func(t *testing.T, token string) {
		_, _, ok := table.Lookup(token)
		require.Equal(t, token == s.Token(5), ok)
	})
}
