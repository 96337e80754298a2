package zkclients

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// storePassword is that of the key stores; keytool wants six characters.
const storePassword = "store-password"

// subject is the client's, as Java's X500Principal.getName() shows it.
const subject = "CN=client,O=Triglot"

// storeKinds is "all" in make test-all.
var storeKinds = flag.String("stores", "jks", "which kinds of store the test of TLS uses: jks or all")

// TestTLS has the stock client connect by TLS, with its identity and the server's in
// a kind of store, on a port of its own and on the plain one.
func TestTLS(t *testing.T) {
	kinds := []string{"JKS"}
	if *storeKinds == "all" {
		kinds = []string{"JKS", "PKCS12", "PEM"}
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			stores := newStores(t, kind)
			port, err := server.FreePort()
			require.NoError(t, err)
			s := startFile(t, zkserver.Options{Config: append(stores.config(),
				"secureClientPort="+strconv.Itoa(port), "secureClientPortAddress=127.0.0.1", "client.portUnification=true")})
			plain := *s
			for _, address := range []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), plain.zk} {
				s.zk = address
				junitWith(t, s, time.Minute, append(stores.properties(t), "-Dzk.scheme=x509", "-Dzk.identity="+subject), 2, "SecureTest")
			}
			if kind == "JKS" {
				junit(t, &plain, time.Minute, 9, "WatchTest") // the same port without TLS
			}
		})
	}
}

// noFIPS has the client do DIGEST-MD5, which it does not by default since 3.9.
const noFIPS = "-Dzookeeper.fips-mode=false"

// TestSASL has the stock client log in by DIGEST-MD5, rightly and wrongly.
func TestSASL(t *testing.T) {
	dir := t.TempDir()
	jaas := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return "-Djava.security.auth.login.config=" + path
	}
	login := func(password string) string {
		return jaas("client-"+password, fmt.Sprintf(
			"Client { org.apache.zookeeper.server.auth.DigestLoginModule required username=\"bob\" password=\"%s\"; };", password))
	}
	s := startFile(t, zkserver.Options{
		Config: []string{"authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider", "sessionRequireClientSASLAuth=true"},
		JVM: []string{jaas("server",
			"Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_super=\"s\" user_bob=\"secret\"; };")},
	})
	junitWith(t, s, time.Minute, []string{login("secret"), noFIPS, "-Dzk.scheme=sasl", "-Dzk.identity=bob"}, 2, "SecureTest")
	junitWith(t, s, time.Minute, []string{login("wrong"), noFIPS}, 1, "RefusedTest")
	junit(t, s, time.Minute, 1, "RefusedTest") // without a login
}

// stores are the key and trust stores of a server and a client, which trust each
// other's own certificates.
type stores struct{ dir, kind string }

func newStores(t *testing.T, kind string) *stores {
	t.Helper()
	s := &stores{dir: t.TempDir(), kind: kind}
	if kind == "PEM" {
		s.writePEM(t)
		return s
	}
	for _, name := range []string{"server", "client"} {
		name, dname := name, "CN="+name+",O=Triglot"
		s.keytool(t, "-genkeypair", "-alias", name, "-keyalg", "RSA", "-dname", dname, "-ext", "SAN=ip:127.0.0.1,dns:localhost",
			"-keystore", s.path(name, "key"), "-storetype", kind, "-storepass", storePassword, "-keypass", storePassword)
		s.keytool(t, "-exportcert", "-alias", name, "-keystore", s.path(name, "key"), "-storepass", storePassword,
			"-file", filepath.Join(s.dir, name+".cer"))
	}
	for name, other := range map[string]string{"server": "client", "client": "server"} {
		s.keytool(t, "-importcert", "-noprompt", "-alias", other, "-file", filepath.Join(s.dir, other+".cer"),
			"-keystore", s.path(name, "trust"), "-storetype", kind, "-storepass", storePassword)
	}
	return s
}

// writePEM writes what Java reads of PEM: a key with its certificate in one file.
func (s *stores) writePEM(t *testing.T) {
	t.Helper()
	for _, name := range []string{"server", "client"} {
		certificate, key := selfSigned(t, name)
		require.NoError(t, os.WriteFile(s.path(name, "key"), append(key, certificate...), 0o600))
		other := map[string]string{"server": "client", "client": "server"}[name]
		require.NoError(t, os.WriteFile(s.path(other, "trust"), certificate, 0o600))
	}
}

func (s *stores) keytool(t *testing.T, args ...string) {
	t.Helper()
	output, err := exec.Command("keytool", args...).CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// path is that of a store: the key or trust store of the server or the client. Its
// extension tells its kind, as ZooKeeper expects it.
func (s *stores) path(whose, what string) string {
	extension := map[string]string{"JKS": ".jks", "PKCS12": ".p12", "PEM": ".pem"}[s.kind]
	return filepath.Join(s.dir, whose+"-"+what+extension)
}

// settings are the properties that name one side's stores.
func (s *stores) settings(whose string) [][2]string {
	all := [][2]string{{"ssl.keyStore.location", s.path(whose, "key")}, {"ssl.trustStore.location", s.path(whose, "trust")}}
	if s.kind != "PEM" {
		all = append(all, [2]string{"ssl.keyStore.password", storePassword}, [2]string{"ssl.trustStore.password", storePassword})
	}
	return all
}

// config are the server's lines of zoo.cfg.
func (s *stores) config() []string {
	lines := []string{
		"serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory", // a real ZooKeeper has TLS with no other
		"authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider",
	}
	for _, kv := range s.settings("server") {
		lines = append(lines, kv[0]+"="+kv[1])
	}
	return lines
}

// properties are the client's. It needs Netty as ZooKeeper has it, where the other
// programs have a later one.
func (s *stores) properties(t *testing.T) []string {
	t.Helper()
	classpath, err := zkserver.Classpath()
	require.NoError(t, err)
	programs, err := compiled()
	require.NoError(t, err)
	for jar := range strings.SplitSeq(programs, ":") {
		if !strings.Contains(jar, "/netty-") {
			classpath += ":" + jar
		}
	}
	all := []string{"-cp", classpath, "-Dzookeeper.client.secure=true", "-Dzookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty"}
	for _, kv := range s.settings("client") {
		all = append(all, "-Dzookeeper."+kv[0]+"="+kv[1])
	}
	return all
}
