package certs

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/certs/certstest"
)

// call has one member call another at a host, and returns why either gave up.
func call(t *testing.T, caller, called *Keeper, host string) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a pipe has no room for an alert
	require.NoError(t, err)
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	a, err := l.Accept()
	require.NoError(t, err)
	refused := make(chan error, 1)
	go func() {
		s := tls.Server(a, called.TLS())
		err := s.HandshakeContext(t.Context())
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		refused <- err
		_ = a.Close()
	}()
	conn, err := caller.Client(t.Context(), b, host)
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // TLS 1.3: the other may yet refuse
		_ = conn.Close()
	}
	if other := <-refused; other != nil {
		return other
	}
	return err
}

// Members look at each other's certificates: who calls at who is called, and the other way
// round (etcd's ClientConfig and ServerConfig of a TLSInfo).
func TestMembersCallEachOther(t *testing.T) {
	a, stranger := certstest.New(t), certstest.New(t)
	revoked := a.Issue("server", certstest.Localhost)
	a.Issue("m1", certstest.Subject{Name: "m1", DNS: []string{"localhost"}})
	a.Issue("m2", certstest.Subject{Name: "m2", DNS: []string{"m2.example.com"}})
	stranger.Issue("m1", certstest.Subject{Name: "m1", DNS: []string{"localhost"}})
	a.Revoke("crl", revoked)
	member := func(from *certstest.Authority, name string, change func(*Config)) *Keeper {
		c := server(from, name)
		c.Peer, c.TrustedCAFile, c.ClientCertAuth = true, a.Path("ca.pem"), true
		if change != nil {
			change(&c)
		}
		k, _ := load(t, c)
		return k
	}
	m1, m2 := member(a, "m1", nil), member(a, "m2", nil)
	require.NoError(t, call(t, m2, m1, "localhost"))
	require.NoError(t, call(t, m1, m2, "m2.example.com"))
	require.ErrorContains(t, call(t, m1, m2, "localhost"), "bad certificate", "it is not for that host")
	require.Error(t, call(t, m1, member(stranger, "m1", nil), "localhost"))
	require.Error(t, call(t, member(stranger, "m1", nil), m1, "localhost"))
	require.Error(t, call(t, nil, m1, "localhost"), "without certificates of its own")

	caller, _ := load(t, Config{Peer: true, TrustedCAFile: a.Path("ca.pem")})
	open, _ := load(t, server(a, "m1"))
	require.NoError(t, call(t, caller, open, "localhost"), "whoever asks for no certificate is called without one")
	require.Error(t, call(t, caller, m1, "localhost"))
	require.Error(t, call(t, nil, open, "localhost"), "its authority is not one of the system's")

	onlyM1 := func(c *Config) { c.AllowedNames = []string{"m1"} }
	require.NoError(t, call(t, member(a, "m2", onlyM1), m1, "localhost"))
	require.Error(t, call(t, member(a, "m1", onlyM1), m2, "m2.example.com"), "asked of the one who is called, too")
	crl := func(c *Config) { c.CRLFile = a.Path("crl") }
	require.NoError(t, call(t, member(a, "m2", crl), m1, "localhost"))
	require.Error(t, call(t, member(a, "m2", crl), member(a, "server", nil), "localhost"))

	anybody := func(c *Config) { c.TrustedCAFile, c.ClientCertAuth, c.TrustAll = "", false, true }
	require.NoError(t, call(t, member(stranger, "m1", anybody), member(a, "m2", anybody), "wherever"))

	shown := func(c *Config) { c.ClientCertFile, c.ClientKeyFile = a.Path("m2.pem"), a.Path("m2.key") }
	onlyM2 := member(a, "m1", func(c *Config) { c.AllowedNames = []string{"m2"} })
	require.NoError(t, call(t, member(a, "m1", shown), onlyM2, "localhost"), "as its client it shows another one")
	require.Error(t, call(t, m1, onlyM2, "localhost"))
}

// The servers of an ensemble do so with the stores of ssl.quorum.*.
func TestServersOfAnEnsembleCallEachOther(t *testing.T) {
	stores := func(change func(*Stores)) *Keeper {
		s := Stores{
			Quorum: true,
			Key:    Store{Path: filepath.Join("testdata", "server.jks"), Password: "password"},
			Trust:  Store{Path: filepath.Join("testdata", "trust.p12"), Password: "password"},
		}
		if change != nil {
			change(&s)
		}
		k, err := LoadStores(s)
		require.NoError(t, err)
		t.Cleanup(k.Close)
		return k
	}
	require.NoError(t, call(t, stores(nil), stores(nil), "localhost"))
	require.Error(t, call(t, stores(nil), stores(nil), "elsewhere"))
	require.NoError(t, call(t, stores(func(s *Stores) { s.AnyServer = true }), stores(nil), "elsewhere"))
	distrustful := func(s *Stores) { s.Trust, s.AnyServer = Store{}, true }
	require.Error(t, call(t, stores(distrustful), stores(nil), "elsewhere"), "the authority is looked at all the same")

	_, err := LoadStores(Stores{Quorum: true})
	require.EqualError(t, err, "ssl.quorum.keyStore.location must be given: TLS needs a key")
	_, err = LoadStores(Stores{Quorum: true, Key: Store{Path: "none"}})
	require.ErrorContains(t, err, "ssl.quorum.keyStore.location: open none")
}
