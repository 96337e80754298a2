package certs

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/certs/certstest"
)

// testStore is a store of testdata, which keytool and openssl made (testdata/make.sh).
func testStore(name string) Store {
	return Store{Path: filepath.Join("testdata", name), Password: "password"}
}

func contentOf(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return content
}

func authorityOf(t *testing.T) *x509.CertPool {
	t.Helper()
	certs, err := pemCertificates(contentOf(t, "ca.pem"))
	require.NoError(t, err)
	require.Len(t, certs, 1)
	pool := x509.NewCertPool()
	pool.AddCert(certs[0])
	return pool
}

// identityOf is the one of that common name.
func identityOf(t *testing.T, all []tls.Certificate, name string) tls.Certificate {
	t.Helper()
	i := slices.IndexFunc(all, func(c tls.Certificate) bool { return c.Leaf.Subject.CommonName == name })
	require.GreaterOrEqual(t, i, 0)
	return all[i]
}

// A key is found in every kind of store, with its certificate and the authority's
// behind it, whatever else is in the store and in whatever order.
func TestKeyStores(t *testing.T) {
	for _, name := range []string{
		"server.jks", "server.p12", "server.pem", "sec1.pem", "actually12.jks", "two.jks",
		"aes128.pem", "aes192.pem", "aes256.pem", "des3.pem", "v1des3.pem",
	} {
		t.Run(name, func(t *testing.T) {
			k, err := LoadStores(Stores{Key: testStore(name), ClientAuth: "none"})
			require.NoError(t, err)
			defer k.Close()
			identities := k.current.Load().server.Certificates
			last := identityOf(t, identities, "server")
			require.Len(t, last.Certificate, 2, "the server's and the authority's")
			authority, err := x509.ParseCertificate(last.Certificate[1])
			require.NoError(t, err)
			require.Equal(t, "authority", authority.Subject.CommonName)
			if name != "two.jks" { // which has two keys, and the client's hello decides
				_, err := shake(k.TLS(), &tls.Config{RootCAs: authorityOf(t), ServerName: "localhost"})
				require.NoError(t, err)
			}
		})
	}
}

func TestTrustStores(t *testing.T) {
	for name, password := range map[string]string{
		"trust.jks": "password", "trust.p12": "password", "ca.pem": "", "server.jks": "password", "umlaut.jks": "pässword",
	} {
		trust := testStore(name)
		trust.Password = password
		k, err := LoadStores(Stores{Key: testStore("server.jks"), Trust: trust})
		require.NoError(t, err, name)
		authority := k.current.Load().server.ClientCAs
		require.True(t, authority.Equal(authorityOf(t)), name)
		k.Close()
	}
}

// The type goes by what is said, or else by the name alone; Java does not mind which of
// its two own types a store has.
func TestStoreTypes(t *testing.T) {
	odd := filepath.Join(t.TempDir(), "store.keys")
	content, err := os.ReadFile("testdata/server.p12")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(odd, content, 0o600))
	for kind, want := range map[string]string{
		"PKCS12": "", "pkcs12": "", "JKS": "",
		"":      "ssl.keyStore.location " + odd + ": its name does not tell its type: let it end in .jks, .pem or .p12, or set ssl.keyStore.type",
		"BCFKS": "ssl.keyStore.location " + odd + ": ssl.keyStore.type=BCFKS is not known here: JKS, PEM and PKCS12 are",
		"PEM":   "ssl.keyStore.location " + odd + ": there is no private key in it",
	} {
		k, err := LoadStores(Stores{Key: Store{Path: odd, Type: kind, Password: "password"}, ClientAuth: "none"})
		if want != "" {
			require.EqualError(t, err, want)
			continue
		}
		require.NoError(t, err, kind)
		k.Close()
	}
}

// Errors name the property, the file and the reason, and no password.
func TestStoreErrors(t *testing.T) {
	key := testStore("server.jks")
	for want, s := range map[string]Stores{
		"ssl.keyStore.location must be given: TLS needs a key":                                                                 {},
		"ssl.keyStore.location: open testdata/none.jks: no such file or directory":                                             {Key: testStore("none.jks")},
		"ssl.keyStore.location testdata/server.jks: the password is wrong, or it is damaged":                                   {Key: Store{Path: "testdata/server.jks", Password: "secret"}},
		"ssl.keyStore.location testdata/server.p12: the password is wrong, or it is damaged":                                   {Key: Store{Path: "testdata/server.p12", Password: "secret"}},
		"ssl.keyStore.location testdata/aes256.pem: the password is wrong, or it is damaged":                                   {Key: Store{Path: "testdata/aes256.pem", Password: "secret"}},
		"ssl.keyStore.location testdata/v1des3.pem: the password is wrong, or it is damaged":                                   {Key: Store{Path: "testdata/v1des3.pem"}},
		"ssl.keyStore.location testdata/v1des.pem: its key is encrypted in a way that is not known here: 1.2.840.113549.1.5.3": {Key: testStore("v1des.pem")},
		"ssl.keyStore.location testdata/otherkey.jks: the password of its key is another one than that of the store":           {Key: testStore("otherkey.jks")},
		"ssl.keyStore.location testdata/trust.jks: there is no private key in it":                                              {Key: testStore("trust.jks")},
		"ssl.keyStore.location testdata/ca.pem: there is no private key in it":                                                 {Key: testStore("ca.pem")},
		"ssl.keyStore.location testdata/other.jks: it is neither a JKS nor a PKCS12 store":                                     {Key: testStore("other.jks")},
		"ssl.trustStore.location testdata/other.jks: it is neither a JKS nor a PKCS12 store":                                   {Key: key, Trust: testStore("other.jks")},
		"ssl.trustStore.location testdata/two.jks: there is no trusted certificate in it":                                      {Key: key, Trust: testStore("two.jks")},
		"ssl.trustStore.location testdata/server.p12: there is something else in it than trusted certificates: make a store of them alone (keytool -importcert)": {
			Key: key, Trust: testStore("server.p12"),
		},
		"ssl.clientAuth=maybe is none of need, want and none":                                                                  {Key: key, ClientAuth: "maybe"},
		"ssl.crl=true: revocation lists are not looked at here; take it out, and leave revoked clients out of the trust store": {Key: key, CRL: true},
		"ssl.ocsp=true: OCSP is not asked here; take it out, and leave revoked clients out of the trust store":                 {Key: key, OCSP: true},
		"ssl.protocol=SSLv3 has no version of TLS that is served here: TLSv1.2 and TLSv1.3 are":                                {Key: key, Protocol: "SSLv3"},
		"ssl.ciphersuites=TLS_NONE has no cipher suite that is known here and of a version that is served":                     {Key: key, CipherSuites: "TLS_NONE"},
	} {
		_, err := LoadStores(s)
		require.EqualError(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
}

// A file with the password counts more than a password, and may end in a new line.
func TestPasswordFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	key := testStore("server.jks")
	key.Password, key.PasswordPath = "wrong", path
	for content, ok := range map[string]bool{"password": true, "password\n": true, "password\n\n": false, "": false} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		k, err := LoadStores(Stores{Key: key, ClientAuth: "none"})
		require.Equal(t, ok, err == nil, "%q: %v", content, err)
		if ok {
			k.Close()
		}
	}
	require.NoError(t, os.Remove(path))
	_, err := LoadStores(Stores{Key: key, ClientAuth: "none"})
	require.ErrorContains(t, err, "ssl.keyStore.passwordPath: open "+path)
}

func TestJavaNames(t *testing.T) {
	suites := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, c := range []struct {
		protocol, enabled, suites string
		want                      versions
	}{
		{"", "", "", versions{min: tls.VersionTLS12, max: tls.VersionTLS13}},
		{"TLSv1.2", "", "", versions{min: tls.VersionTLS12, max: tls.VersionTLS12}},
		{"TLSv1.2", "TLSv1.3, TLSv1.2", "", versions{min: tls.VersionTLS12, max: tls.VersionTLS13}},
		{"", "TLSv1.1,TLSv1.3", "", versions{min: tls.VersionTLS13, max: tls.VersionTLS13, ignored: []string{"TLSv1.1"}}},
		{"", "", "TLS_AES_256_GCM_SHA384", versions{min: tls.VersionTLS13, max: tls.VersionTLS13}},
		{"", "", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", versions{min: tls.VersionTLS12, max: tls.VersionTLS12, suites: suites}},
		{"", "", "TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", versions{
			min: tls.VersionTLS12, max: tls.VersionTLS13, suites: suites, ignored: []string{"TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"},
		}},
		{"", "", "SSL_RSA_WITH_3DES_EDE_CBC_SHA", versions{min: tls.VersionTLS12, max: tls.VersionTLS12, suites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}}},
	} {
		s := Stores{Protocol: c.protocol, EnabledProtocols: c.enabled, CipherSuites: c.suites}
		got, err := s.versions()
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

// Whom ssl.clientAuth lets in.
func TestStoresClientAuth(t *testing.T) {
	root := authorityOf(t)
	identities, err := pkcs12Identity(contentOf(t, "client.p12"), "password")
	require.NoError(t, err)
	two, err := jksIdentity(contentOf(t, "two.jks"), "password")
	require.NoError(t, err)
	stranger := identityOf(t, two, "old")
	own := &tls.Config{RootCAs: root, ServerName: "localhost", Certificates: identities}
	other := &tls.Config{RootCAs: root, ServerName: "localhost", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &stranger, nil
	}}
	nobody := &tls.Config{RootCAs: root, ServerName: "localhost"}
	for _, c := range []struct {
		auth, trust        string
		own, nobody, other bool
	}{
		{"need", "trust.jks", true, false, false},
		{"", "trust.jks", true, false, false},
		{"want", "trust.jks", true, true, false},
		{"NONE", "trust.jks", true, true, true},
		{"want", "", false, true, false},
		{"need", "", false, false, false},
	} {
		s := Stores{Key: testStore("server.jks"), ClientAuth: c.auth}
		if c.trust != "" {
			s.Trust = testStore(c.trust)
		}
		k, err := LoadStores(s)
		require.NoError(t, err)
		for client, ok := range map[*tls.Config]bool{own: c.own, nobody: c.nobody, other: c.other} {
			_, err := shake(k.TLS(), client)
			require.Equal(t, ok, err == nil, "%+v: %v", c, err)
		}
		k.Close()
	}
}

// ssl.clientHostnameVerification: the certificate is for the client's address, or for a
// name of it, if those are looked for.
// Who can connect without a trust store is said at the start.
func TestWithoutTrustStore(t *testing.T) {
	for auth, want := range map[string]string{
		"":     "clients need a certificate: all are refused",
		"need": "clients need a certificate: all are refused",
		"want": "clients with a certificate are refused",
		"none": "",
	} {
		var log bytes.Buffer
		k, err := LoadStores(Stores{Key: testStore("server.jks"), ClientAuth: auth, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		k.Close()
		if want == "" {
			require.NotContains(t, log.String(), "trustStore", auth)
			continue
		}
		require.Contains(t, log.String(), want, auth)
	}
}

func TestClientHosts(t *testing.T) {
	cert := authorityIssue(t, "client.p12")
	names := fakeDNS{names: map[string][]string{"10.0.0.1": {"localhost."}, "10.0.0.2": {"elsewhere."}}}
	for _, c := range []struct {
		address string
		reverse bool
		ok      bool
	}{
		{"127.0.0.1:1", false, true},
		{"10.0.0.1:1", false, false},
		{"10.0.0.1:1", true, true},
		{"10.0.0.2:1", true, false},
		{"10.0.0.3:1", true, false},
		{"nowhere", true, false},
	} {
		err := checkHost(names, cert, c.address, c.reverse)
		require.Equal(t, c.ok, err == nil, "%+v: %v", c, err)
	}
}

func authorityIssue(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	identities, err := pkcs12Identity(contentOf(t, name), "password")
	require.NoError(t, err)
	return identities[0].Leaf
}

// fakeDNS knows the names of addresses.
type fakeDNS struct{ names map[string][]string }

func (d fakeDNS) LookupAddr(_ context.Context, address string) ([]string, error) {
	if names, ok := d.names[address]; ok {
		return names, nil
	}
	return nil, errors.New("unknown address")
}

func (d fakeDNS) LookupHost(context.Context, string) ([]string, error) {
	return nil, errors.New("unused")
}

// A store that changes is taken up, and one that breaks is not.
func TestStoresReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.jks")
	put := func(name string) { require.NoError(t, os.WriteFile(path, contentOf(t, name), 0o600)) }
	put("server.jks")
	k, err := LoadStores(Stores{Key: Store{Path: path, Password: "password"}, ClientAuth: "none"})
	require.NoError(t, err)
	defer k.Close()
	first := k.current.Load()
	k.Reload()
	require.Same(t, first, k.current.Load(), "nothing has changed")
	put("other.jks")
	k.Reload()
	require.Same(t, first, k.current.Load(), "what cannot be read changes nothing")
	put("server.p12")
	k.Reload()
	require.NotSame(t, first, k.current.Load())
	_, err = shake(k.TLS(), &tls.Config{RootCAs: authorityOf(t), ServerName: "localhost"})
	require.NoError(t, err)
}

func FuzzJKS(f *testing.F) {
	for _, name := range []string{"server.jks", "two.jks", "trust.jks", "otherkey.jks", "other.jks"} {
		f.Add(contentOf(f, name))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		// The sum at the end is made right, or nothing behind it would be looked at.
		if len(content) > 20 {
			body := content[:len(content)-20]
			sum := sha1.Sum(append(append(utf16Password("password"), jksWords...), body...))
			content = append(append([]byte{}, body...), sum[:]...)
		}
		store, err := parseJKS(content, "password")
		if err != nil {
			return
		}
		for i := range store.keys {
			if _, err := store.keys[i].open("password"); err == nil {
				require.NotEmpty(t, store.keys[i].sealed)
			}
		}
		identities, err := jksIdentity(content, "password")
		require.Equal(t, err == nil, len(identities) > 0)
	})
}

func FuzzPEM(f *testing.F) {
	for _, name := range []string{"server.pem", "aes256.pem", "v1des3.pem", "v1des.pem", "ca.pem"} {
		f.Add(contentOf(f, name))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		// A file may ask for much work: that is its owner's affair.
		if bytes.Contains(content, []byte("ENCRYPTED")) {
			return
		}
		identities, err := pemIdentity(content, "password")
		require.Equal(t, err == nil, len(identities) == 1 && len(identities[0].Certificate) > 0)
	})
}

// The address that counts is that of the connection, whoever sniffed at it before.
func TestClientHostsOfConnections(t *testing.T) {
	a := certstest.New(t)
	a.Issue("server", certstest.Localhost)
	a.Issue("here", certstest.Localhost)
	a.Issue("nowhere", certstest.Subject{Name: "nowhere"})
	both := filepath.Join(t.TempDir(), "server.pem")
	var content []byte
	for _, name := range []string{"server.pem", "server.key"} {
		part, err := os.ReadFile(a.Path(name))
		require.NoError(t, err)
		content = append(content, part...)
	}
	// Java wants PKCS #8; that of openssl is taken, too.
	require.NoError(t, os.WriteFile(both, content, 0o600))
	k, err := LoadStores(Stores{Key: Store{Path: both}, Trust: Store{Path: a.Path("ca.pem")}, VerifyHosts: true})
	require.NoError(t, err)
	defer k.Close()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := NewListener(inner, k.TLS(), ListenOptions{Plain: true})
	defer l.Close()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("x"))
			_ = conn.Close()
		}
	}()
	for name, ok := range map[string]bool{"here": true, "nowhere": false} {
		conn, err := tls.Dial("tcp", l.Addr().String(), a.Client(name))
		if err == nil { // TLS 1.3: the server may yet refuse
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		require.Equal(t, ok, err == nil, "%s: %v", name, err)
	}
	require.NoError(t, l.Close())
	<-accepted
}
