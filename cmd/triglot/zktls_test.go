package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// zkStore is the path of a store of the tests of certificates.
func zkStore(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("certs", "testdata", name))
	require.NoError(t, err)
	return path
}

// zkTLSConfig are lines of a zoo.cfg with TLS.
func zkTLSConfig(t *testing.T, dir string, more ...string) string {
	t.Helper()
	path := filepath.Join(dir, "zoo.cfg")
	lines := append([]string{
		"dataDir=" + filepath.Join(dir, "data"), "clientPort=0", "clientPortAddress=127.0.0.1",
		"secureClientPort=0", "secureClientPortAddress=127.0.0.1", "admin.enableServer=false", "4lw.commands.whitelist=*",
		"ssl.keyStore.location=" + zkStore(t, "server.jks"), "ssl.keyStore.password=password",
		"ssl.trustStore.location=" + zkStore(t, "trust.p12"), "ssl.trustStore.password=password",
	}, more...)
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	return path
}

// addresses waits until the program serves, and returns the addresses without and with
// TLS.
func (r *running) zkAddresses() (plain, secure string) {
	r.t.Helper()
	served := regexp.MustCompile(`serving client traffic (insecurely|securely)[^\n]*traffic"?[=:]"?zookeeper"?[ ,]+"?address"?[=:]"?([^" \n]+)`)
	r.await(func() bool {
		for _, m := range served.FindAllStringSubmatch(r.stderr.String(), -1) {
			if m[1] == "insecurely" {
				plain = m[2]
			} else {
				secure = m[2]
			}
		}
		return plain != "" && secure != "" && secure != plain
	}, "it serves ZooKeeper's clients with and without TLS")
	return plain, secure
}

// zkClient are the settings of a TLS client, with a certificate or without one.
func zkClient(t *testing.T, certificate bool) *tls.Config {
	t.Helper()
	authority, err := os.ReadFile(zkStore(t, "ca.pem"))
	require.NoError(t, err)
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	require.True(t, c.RootCAs.AppendCertsFromPEM(authority))
	if certificate {
		pair, err := tls.LoadX509KeyPair(zkStore(t, "server.pem"), zkStore(t, "server.pem"))
		require.NoError(t, err)
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// zkDial connects, with TLS unless config is nil.
func zkDial(t *testing.T, address string, config *tls.Config) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	if config == nil {
		return conn
	}
	return tls.Client(conn, config)
}

// zkWord asks a four-letter word.
func zkWord(t *testing.T, conn net.Conn, word string) (string, error) {
	t.Helper()
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// zkWhoAmI opens a session and returns the reply to whoAmI.
func zkWhoAmI(conn net.Conn) (string, error) {
	frame := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	read := func() ([]byte, error) {
		var head [4]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return nil, err
		}
		b := make([]byte, binary.BigEndian.Uint32(head[:]))
		_, err := io.ReadFull(conn, b)
		return b, err
	}
	hello := make([]byte, 45) // a new session with the default timeout
	binary.BigEndian.PutUint32(hello[12:], 10_000)
	binary.BigEndian.PutUint32(hello[24:], 16)
	if _, err := conn.Write(frame(hello)); err != nil {
		return "", err
	}
	if _, err := read(); err != nil {
		return "", err
	}
	if _, err := conn.Write(frame([]byte{0, 0, 0, 1, 0, 0, 0, 107})); err != nil {
		return "", err
	}
	reply, err := read()
	return string(reply), err
}

// secureClientPort, and TLS on the plain port too (client.portUnification): both take
// four-letter words and sessions, whose clients are known by their certificates (A4).
// Clients that say nothing hold up nobody.
func TestZooKeeperTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, nil, "triglot", "zookeeper", zkTLSConfig(t, dir, "client.portUnification=true", "X509AuthenticationProvider.superUser=CN=server,O=Triglot"))
	plain, secure := r.zkAddresses()
	for _, address := range []string{plain, secure, plain} {
		silent := zkDial(t, address, nil)
		_, err := silent.Write([]byte{0x16})
		require.NoError(t, err)
	}
	for _, address := range []string{plain, secure} {
		answer, err := zkWord(t, zkDial(t, address, zkClient(t, true)), "ruok")
		require.NoError(t, err)
		require.Equal(t, "imok", answer)
		who, err := zkWhoAmI(zkDial(t, address, zkClient(t, true)))
		require.NoError(t, err)
		require.Contains(t, who, "\x04x509\x00\x00\x00\x13CN=server,O=Triglot")
		require.Contains(t, who, "\x05super\x00\x00\x00\x00", "X509AuthenticationProvider.superUser")
		_, err = zkWhoAmI(zkDial(t, address, zkClient(t, false)))
		require.Error(t, err, "ssl.clientAuth is need")
	}
	answer, err := zkWord(t, zkDial(t, plain, nil), "ruok")
	require.NoError(t, err)
	require.Equal(t, "imok", answer)
	who, err := zkWhoAmI(zkDial(t, plain, nil))
	require.NoError(t, err)
	require.NotContains(t, who, "x509")
	r.stop()
}

// Without unification the plain port knows no TLS, and a key store that changes is in
// use after SIGHUP.
func TestZooKeeperTLSReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "key.jks")
	put := func(name string) {
		content, err := os.ReadFile(zkStore(t, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(key, content, 0o600))
	}
	put("server.jks")
	config := zkTLSConfig(t, dir, "ssl.keyStore.location="+key, "ssl.clientAuth=want")
	r := start(t, dir, nil, "triglot", "zookeeper", config)
	plain, secure := r.zkAddresses()
	_, err := zkWhoAmI(zkDial(t, plain, zkClient(t, true)))
	require.Error(t, err)
	who, err := zkWhoAmI(zkDial(t, secure, zkClient(t, false)))
	require.NoError(t, err, "ssl.clientAuth is want")
	require.NotContains(t, who, "x509")

	put("client.p12")
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGHUP))
	r.await(func() bool { return strings.Contains(r.stderr.String(), "certificates have changed and are in use") }, "the new key is in use")
	conn := zkDial(t, secure, zkClient(t, false)).(*tls.Conn)
	require.NoError(t, conn.Handshake())
	require.Equal(t, "client", conn.ConnectionState().PeerCertificates[0].Subject.CommonName)
	r.stop()
}

// What cannot be used ends the program with a line that names the property, the file and
// the reason, and no secret.
func TestZooKeeperTLSRefusals(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"ssl.keyStore.password=sesame":                   "ssl.keyStore.location " + zkStore(t, "server.jks") + ": the password is wrong, or it is damaged",
		"ssl.trustStore.location=/nowhere.jks":           "ssl.trustStore.location: open /nowhere.jks: no such file or directory",
		"ssl.crl=true":                                   "ssl.crl",
		"ssl.clientAuth=perhaps":                         "ssl.clientAuth",
		"ssl.keyStore.type=BCFKS":                        "BCFKS",
		"java.security.auth.login.config=/nowhere/login": "/nowhere/login: no such file or directory",
	} {
		dir := t.TempDir()
		env := []string{}
		if name, value, _ := strings.Cut(line, "="); strings.HasPrefix(name, "java.") {
			env, line = append(env, "SERVER_JVMFLAGS=-D"+name+"="+value), ""
		}
		r := start(t, dir, env, "triglot", "zookeeper", zkTLSConfig(t, dir, line))
		require.NotZero(t, r.exit(), line)
		require.Contains(t, r.stderr.String(), want)
		require.NotContains(t, r.stderr.String(), "sesame")
	}
}
