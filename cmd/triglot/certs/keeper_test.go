package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/certs/certstest"
)

// What cannot work is refused in one line that names the flag.
func TestLoadRefuses(t *testing.T) {
	a := certstest.New(t)
	a.Issue("server", certstest.Localhost)
	a.Issue("other", certstest.Localhost)
	junk := a.Path("junk")
	require.NoError(t, os.WriteFile(junk, []byte("-----BEGIN NOTHING-----\n"), 0o600))
	good := server(a, "server")
	with := func(change func(*Config)) Config {
		c := good
		change(&c)
		return c
	}
	for name, tt := range map[string]struct {
		config Config
		want   string
	}{
		"no key":              {Config{CertFile: "a"}, "--cert-file and --key-file: KeyFile and CertFile must both be present[key: , cert: a]"},
		"no certificate":      {Config{KeyFile: "a", Peer: true}, "--peer-cert-file and --peer-key-file: KeyFile and CertFile must both be present[key: a, cert: ]"},
		"half a client":       {with(func(c *Config) { c.ClientKeyFile = "a" }), "--client-cert-file and --client-key-file: ClientKeyFile and ClientCertFile must both be present or both absent"},
		"names and hosts":     {with(func(c *Config) { c.AllowedNames, c.AllowedHosts = []string{"a"}, []string{"b"} }), "--client-cert-allowed-cn and --client-cert-allowed-hostname cannot be given together"},
		"a peer's both":       {with(func(c *Config) { c.AllowedNames, c.AllowedHosts, c.Peer = []string{"a"}, []string{"b"}, true }), "--peer-cert-allowed-cn and --peer-cert-allowed-hostname cannot be given together"},
		"no such file":        {with(func(c *Config) { c.CertFile = "/nowhere" }), "--cert-file: open /nowhere: no such file or directory"},
		"another's key":       {with(func(c *Config) { c.KeyFile = a.Path("other.key") }), "tls: private key does not match public key"},
		"no PEM":              {with(func(c *Config) { c.CertFile = junk }), "--cert-file " + junk},
		"another's client":    {with(func(c *Config) { c.ClientCertFile, c.ClientKeyFile = good.CertFile, a.Path("other.key") }), "--client-cert-file"},
		"no authority":        {with(func(c *Config) { c.TrustedCAFile = junk }), "--trusted-ca-file " + junk + ": there is no certificate in it"},
		"a key for authority": {with(func(c *Config) { c.TrustedCAFile, c.Peer = good.KeyFile, true }), "--peer-trusted-ca-file"},
		"no list":             {with(func(c *Config) { c.CRLFile = junk }), "--client-crl-file " + junk},
		"a peer's list":       {with(func(c *Config) { c.CRLFile, c.Peer = junk, true }), "--peer-crl-file " + junk},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(tt.config)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// Who may come in, and why not.
func TestClientsAreChecked(t *testing.T) {
	a, stranger := certstest.New(t), certstest.New(t)
	a.Issue("server", certstest.Localhost)
	alice := a.Issue("alice", certstest.Subject{Name: "alice", DNS: []string{"alice.example.com"}})
	a.Issue("bob", certstest.Subject{Name: "bob"})
	a.Issue("old", certstest.Subject{Name: "alice", Until: time.Now().Add(-time.Minute)})
	stranger.Issue("alice", certstest.Subject{Name: "alice"})
	a.Revoke("crl", alice)
	withAlice := a.Client("bob") // who shows another certificate behind his own
	withAlice.Certificates[0].Certificate = append(withAlice.Certificates[0].Certificate, alice.Raw)

	for _, tt := range []struct {
		about  string
		config func(*Config)
		client *tls.Config
		want   string // in the server's refusal; empty if it lets in
	}{
		{"nobody asks", func(*Config) {}, a.Client(""), ""},
		{"nobody asks, names or not", func(c *Config) { c.AllowedHosts = []string{"x"} }, a.Client("bob"), ""},
		{"no certificate", func(c *Config) { c.ClientCertAuth, c.TrustedCAFile = true, a.Path("ca.pem") }, a.Client(""), "client didn't provide a certificate"},
		{"no certificate, authorities alone", func(c *Config) { c.TrustedCAFile = a.Path("ca.pem") }, a.Client(""), "client didn't provide a certificate"},
		{"a certificate", func(c *Config) { c.TrustedCAFile = a.Path("ca.pem") }, a.Client("alice"), ""},
		{"the system's authorities", func(c *Config) { c.ClientCertAuth = true }, a.Client("alice"), "unknown authority"},
		{"another authority's", func(c *Config) { c.TrustedCAFile = stranger.Path("ca.pem") }, a.Client("alice"), "failed to verify certificate"},
		{"one that has ended", func(c *Config) { c.TrustedCAFile = a.Path("ca.pem") }, a.Client("old"), "expired"},
		{"revoked", func(c *Config) { c.TrustedCAFile, c.CRLFile = a.Path("ca.pem"), a.Path("crl") }, a.Client("alice"), "certificate serial 3 revoked"},
		{"revoked, behind another", func(c *Config) { c.TrustedCAFile, c.CRLFile = a.Path("ca.pem"), a.Path("crl") }, withAlice, "certificate serial 3 revoked"},
		{"not revoked", func(c *Config) { c.TrustedCAFile, c.CRLFile = a.Path("ca.pem"), a.Path("crl") }, a.Client("bob"), ""},
		{"an allowed host", func(c *Config) {
			c.TrustedCAFile, c.AllowedHosts = a.Path("ca.pem"), []string{"x", "alice.example.com"}
		}, a.Client("alice"), ""},
		{"no allowed host", func(c *Config) { c.TrustedCAFile, c.AllowedHosts = a.Path("ca.pem"), []string{"x"} }, a.Client("alice"), "client certificate authentication failed: it is for none of the allowed host names"},
		{"an allowed name", func(c *Config) { c.TrustedCAFile, c.AllowedNames = a.Path("ca.pem"), []string{"bob"} }, a.Client("bob"), ""},
		{"no allowed name", func(c *Config) { c.TrustedCAFile, c.AllowedNames = a.Path("ca.pem"), []string{"bob"} }, a.Client("alice"), `client certificate authentication failed: the common name "alice" is not allowed`},
	} {
		t.Run(tt.about, func(t *testing.T) {
			c := server(a, "server")
			tt.config(&c)
			k, _ := load(t, c)
			_, err := shake(k.TLS(), tt.client)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestVersionsAndSuites(t *testing.T) {
	a := certstest.New(t)
	a.Issue("server", certstest.Localhost)
	suites, err := ParseSuites([]string{"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"})
	require.NoError(t, err)
	c := server(a, "server")
	c.MaxVersion, c.CipherSuites = tls.VersionTLS12, suites
	k, _ := load(t, c)
	client := a.Client("")
	_, err = shake(k.TLS(), client)
	require.NoError(t, err)
	client.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	_, err = shake(k.TLS(), client)
	require.Error(t, err, "no suite in common")

	c = server(a, "server")
	c.MinVersion = tls.VersionTLS13
	k, _ = load(t, c)
	client = a.Client("")
	client.MaxVersion = tls.VersionTLS12
	_, err = shake(k.TLS(), client)
	require.ErrorContains(t, err, "unsupported versions")

	client = a.Client("")
	client.MinVersion, client.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	k, _ = load(t, server(a, "server"))
	_, err = shake(k.TLS(), client)
	require.ErrorContains(t, err, "unsupported versions", "1.2 is the least")
}

// Certificate, key, authority and revocation list follow their files, also through
// a symbolic link that is put elsewhere, which is how Kubernetes does it; what
// cannot be used changes nothing, and each is one line.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := certstest.New(t), certstest.New(t)
		first := a.Issue("server", certstest.Localhost)
		alice := a.Issue("alice", certstest.Subject{Name: "alice"})
		b.Issue("alice", certstest.Subject{Name: "alice"})
		a.Revoke("crl")
		link := filepath.Join(t.TempDir(), "current")
		require.NoError(t, os.Symlink(a.Path(""), link))
		k, log := load(t, Config{
			CertFile: filepath.Join(link, "server.pem"), KeyFile: filepath.Join(link, "server.key"),
			TrustedCAFile: filepath.Join(link, "ca.pem"), CRLFile: filepath.Join(link, "crl"),
		})
		server := k.TLS() // is never asked for again
		sees := func(want *x509.Certificate, name string, from *certstest.Authority) {
			t.Helper()
			client := a.Client("")
			client.Certificates = from.Client(name).Certificates
			client.RootCAs.AddCert(b.Cert)
			seen, err := shake(server, client)
			require.NoError(t, err)
			require.True(t, want.Equal(seen))
		}
		sees(first, "alice", a)

		second := a.Issue("server", certstest.Localhost)
		sees(first, "alice", a)
		pass(pollInterval + time.Millisecond)
		sees(second, "alice", a)
		require.Regexp(t, `^level=INFO msg="certificates have changed and are in use" cert-file=\S+ subject="CN=server" serial=4 not-after=\S+\n$`, log.take())

		// Half written: said once, however often it is looked at.
		require.NoError(t, os.WriteFile(a.Path("server.key"), []byte("-----BEGIN"), 0o600))
		pass(3 * pollInterval)
		sees(second, "alice", a)
		require.Regexp(t, `^level=WARN msg="certificates have changed and cannot be used; the last good ones stay" error="--cert-file .*"\n$`, log.take())
		require.NoError(t, os.Remove(a.Path("server.pem")))
		pass(3 * pollInterval)
		sees(second, "alice", a)
		require.Regexp(t, `^level=WARN .*no such file or directory"\n$`, log.take())
		third := a.Issue("server", certstest.Localhost)
		k.Reload() // as SIGHUP does
		sees(third, "alice", a)
		log.take()

		a.Revoke("crl", alice)
		k.Reload()
		_, err := shake(server, a.Client("alice"))
		require.ErrorContains(t, err, "revoked")
		require.Equal(t, 1, strings.Count(log.take(), "\n"))

		// The whole directory, authority and all.
		b.Revoke("crl")
		other := b.Issue("server", certstest.Localhost)
		require.NoError(t, os.Symlink(b.Path(""), link+".new"))
		require.NoError(t, os.Rename(link+".new", link))
		pass(pollInterval + time.Millisecond)
		sees(other, "alice", b)
		_, err = shake(server, func() *tls.Config {
			c := b.Client("")
			c.Certificates = a.Client("alice").Certificates
			return c
		}())
		require.Error(t, err, "the first authority is no longer trusted")
		require.Equal(t, 1, strings.Count(log.take(), "\n"))
		k.Close()
	})
}

// Sessions of clients with certificates are not resumed: they would outlive the
// authority.
func TestNoResumption(t *testing.T) {
	a := certstest.New(t)
	a.Issue("server", certstest.Localhost)
	a.Issue("alice", certstest.Subject{Name: "alice"})
	c := server(a, "server")
	c.TrustedCAFile = a.Path("ca.pem")
	k, _ := load(t, c)
	require.True(t, k.current.Load().server.SessionTicketsDisabled)
	client := a.Client("alice")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		_, err := shake(k.TLS(), client)
		require.NoError(t, err)
	}
}

// A month, a week and a day before the end of a certificate, and at the end, one
// line each.
func TestEndIsAnnounced(t *testing.T) {
	for left, want := range map[time.Duration]stage{
		31 * oneDay: lasting, 30 * oneDay: month, 8 * oneDay: month, 7 * oneDay: week, 25 * time.Hour: week,
		oneDay: day, 1: day, 0: ended, -1: ended,
	} {
		require.Equal(t, want, stageOf(left), "%v", left)
	}
	synctest.Test(t, func(t *testing.T) {
		a := certstest.New(t)
		end := time.Now().Add(8 * oneDay)
		a.Issue("server", certstest.Subject{Name: "server", Until: end})
		k, log := load(t, server(a, "server"))
		var said []string
		for time.Until(end) > -oneDay {
			pass(time.Millisecond) // after the look at the files
			if text := log.take(); text != "" {
				require.Contains(t, text, `subject="CN=server"`)
				require.Equal(t, 1, strings.Count(text, "\n"))
				what := strings.TrimPrefix(strings.SplitN(text, `"`, 3)[1], "a certificate ")
				said = append(said, what+" "+time.Until(end).Round(time.Minute).String())
			}
			pass(time.Hour - time.Millisecond)
		}
		require.Equal(t, []string{
			"ends soon 192h0m0s", "ends soon 168h0m0s", "ends soon 24h0m0s",
			"has ended: connections fail until there is a new one 0s",
		}, said)

		// A new one with little time left is worth the line of its stage only.
		pass(time.Millisecond) // after the look at the files
		a.Issue("server", certstest.Subject{Name: "server", Until: time.Now().Add(3 * oneDay)})
		pass(2 * pollInterval)
		text := log.take()
		require.Contains(t, text, "in use")
		require.Regexp(t, "days-left=[23]", text)
		require.Equal(t, 2, strings.Count(text, "\n"))
		k.Close()
	})
}

// Who asks for another look is told at once of what has ended, and each time.
func TestReloadSaysWhatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := certstest.New(t)
		a.Issue("server", certstest.Localhost)
		k, log := load(t, server(a, "server"))
		k.Reload()
		require.Empty(t, log.take())
		a.Issue("server", certstest.Subject{Name: "server", Until: time.Now().Add(-time.Minute)})
		k.Reload()
		require.Regexp(t, `(?s)level=INFO msg="certificates have changed and are in use".*level=WARN msg="a certificate has ended: .*file=\S+server.pem`, log.take())
		k.Reload()
		require.Regexp(t, `^level=WARN msg="a certificate has ended: [^\n]*\n$`, log.take())
		pass(10 * pollInterval)
		require.Empty(t, log.take(), "looks that nobody asked for say nothing")
		k.Close()
	})
}

func TestRevocationListAsPEM(t *testing.T) {
	a := certstest.New(t)
	a.Issue("server", certstest.Localhost)
	alice := a.Issue("alice", certstest.Subject{Name: "alice"})
	c := server(a, "server")
	c.TrustedCAFile = a.Path("ca.pem")
	c.CRLFile = a.Write("crl.pem", "X509 CRL", a.Revoke("crl", alice))
	k, _ := load(t, c)
	_, err := shake(k.TLS(), a.Client("alice"))
	require.ErrorContains(t, err, "revoked")
}

// names is a resolver that knows what it is told.
type names struct{ reverse, forward map[string][]string }

var errNoName = errors.New("no such name")

func (n names) LookupAddr(_ context.Context, addr string) ([]string, error) {
	if found, ok := n.reverse[addr]; ok {
		return found, nil
	}
	return nil, errNoName
}

func (n names) LookupHost(_ context.Context, host string) ([]string, error) {
	if found, ok := n.forward[host]; ok {
		return found, nil
	}
	return nil, errNoName
}

func TestCheckAddress(t *testing.T) {
	dns := names{
		reverse: map[string][]string{"10.0.0.1": {"a.example.com."}, "10.0.0.2": {"x.y.org."}},
		forward: map[string][]string{"b.example.com": {"10.0.0.3", "10.0.0.4"}},
	}
	cert := func(ips []net.IP, names ...string) *x509.Certificate {
		return &x509.Certificate{IPAddresses: ips, DNSNames: names}
	}
	ip := []net.IP{net.IPv4(10, 0, 0, 9)}
	for _, tt := range []struct {
		cert    *x509.Certificate
		address string
		want    string
	}{
		{cert(nil), "nonsense", ""},
		{cert(ip), "10.0.0.9:1", ""},
		{cert(ip), "10.0.0.1:1", "10.0.0.1"},
		{cert(ip, "a.example.com"), "10.0.0.1:1", ""},
		{cert(ip, "a.example.com"), "nonsense", "missing port"},
		{cert(nil, "*.example.com"), "10.0.0.1:1", ""},
		{cert(nil, "*.example.com"), "10.0.0.2:1", "does not match any of the certificate's DNS names"},
		{cert(nil, "b.example.com"), "10.0.0.4:1", ""},
		{cert(nil, "b.example.com"), "10.0.0.5:1", errNoName.Error()},
	} {
		err := CheckAddress(t.Context(), dns, tt.cert, tt.address)
		if tt.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, tt.want)
	}
}

func TestSelfSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "fixtures", "client")
		log := newTestLog()
		for _, years := range []uint64{0, 101} {
			_, _, err := SelfSigned(dir, nil, years, log.logger)
			require.ErrorContains(t, err, "--self-signed-cert-validity")
		}
		require.NoDirExists(t, dir)
		cert, key, err := SelfSigned(dir, []string{"localhost", "127.0.0.1"}, 2, log.logger)
		require.NoError(t, err)
		require.Contains(t, log.take(), "for development only")
		for _, path := range []string{cert, key} {
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode())
		}
		k, _ := load(t, Config{CertFile: cert, KeyFile: key})
		leaf := k.current.Load().watched[0].cert
		require.Equal(t, time.Now().AddDate(2, 0, 0), leaf.NotAfter.In(time.Local))
		roots := x509.NewCertPool()
		roots.AddCert(leaf)
		for _, name := range []string{"localhost", "127.0.0.1"} {
			_, err = shake(k.TLS(), &tls.Config{RootCAs: roots, ServerName: name})
			require.NoError(t, err, "it is its own authority")
		}

		before, err := os.ReadFile(cert)
		require.NoError(t, err)
		_, _, err = SelfSigned(dir, nil, 1, log.logger)
		require.NoError(t, err)
		after, err := os.ReadFile(cert)
		require.NoError(t, err)
		require.Equal(t, before, after, "what there is is used again")
		require.Empty(t, log.take())

		k.Close()
		pass(3 * 365 * oneDay)
		_, _, err = SelfSigned(dir, nil, 1, log.logger)
		require.NoError(t, err)
		after, err = os.ReadFile(cert)
		require.NoError(t, err)
		require.NotEqual(t, before, after, "unless it has ended")
	})
}

func TestParse(t *testing.T) {
	for name, want := range map[string]uint16{"": 0, "TLS1.2": tls.VersionTLS12, "TLS1.3": tls.VersionTLS13} {
		got, err := ParseVersion(name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := ParseVersion("TLS1.1")
	require.EqualError(t, err, `unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)`)
	ids, err := ParseSuites([]string{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_RC4_128_SHA", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"})
	require.NoError(t, err)
	require.Equal(t, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}, ids)
	_, err = ParseSuites([]string{"TLS_NONE"})
	require.EqualError(t, err, `unexpected TLS cipher suite "TLS_NONE"`)
}
