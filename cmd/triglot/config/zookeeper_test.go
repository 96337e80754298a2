package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// zooKeeper loads a zoo.cfg in which DIR is a directory of the test's, which is
// returned.
func zooKeeper(t *testing.T, text string, args, env []string) (*Config, *Legacy, string, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "zoo.cfg")
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600))
	f := NewZooKeeperFlags()
	fs := pflag.NewFlagSet("zookeeper", pflag.ContinueOnError)
	f.Define(fs)
	if err := fs.Parse(append([]string{path}, args...)); err != nil {
		return nil, nil, dir, FlagError(err)
	}
	c, legacy, err := f.Load(fs.Args(), env)
	return c, legacy, dir, err
}

const minimal = "dataDir=DIR/data\nclientPort=2181\n"

func TestZooKeeperMode(t *testing.T) {
	c, legacy, dir, err := zooKeeper(t, minimal, nil, nil)
	require.NoError(t, err)
	require.Equal(t, ZooKeeper, c.Mode)
	require.Equal(t, filepath.Join(dir, "data", "triglot"), c.Member.DataDir)
	require.Empty(t, c.Member.WALDir)
	require.Equal(t, []string{filepath.Join(dir, "data")}, legacy.Dirs)
	require.False(t, legacy.Begun())
	require.Empty(t, c.Listen.Client, "etcd's clients are not served unless asked for")
	require.Equal(t, AdminSocketInData, c.Listen.AdminSocket)
	z := c.ZooKeeper
	require.Equal(t, ":2181", z.Listen)
	require.Empty(t, z.Secure+z.Admin+z.Metrics)
	require.Equal(t, 3*time.Second, z.Limits.Tick)
	require.Equal(t, 60, z.Limits.MaxPerIP)
	require.Nil(t, z.Words)
	require.Nil(t, z.ACLOverEtcd)
	require.Empty(t, c.Notes)
}

func TestZooKeeperKeysReachTheConfiguration(t *testing.T) {
	c, legacy, dir, err := zooKeeper(t, `
dataDir=DIR/data
dataLogDir=DIR/log
clientPort=2181
clientPortAddress=127.0.0.1
secureClientPort=2281
secureClientPortAddress=::1
tickTime=20
minSessionTimeout=1
maxSessionTimeout=7000
maxClientCnxns=-1
maxCnxns=9
jute.maxbuffer=4194304
reconfigEnabled=true
4lw.commands.whitelist=srvr, mntr
extendedTypesEnabled=true
enforceQuota=true
readonlymode.enabled=true
skipACL=yes
forceSync=no
DigestAuthenticationProvider.superDigest=super:hidden
DigestAuthenticationProvider.digestAlg=SHA-256
X509AuthenticationProvider.superUser=CN=root
superUser.1=alice
authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
authProvider.2=com.example.Mine
enforce.auth.enabled=true
enforce.auth.schemes=sasl,x509
ssl.keyStore.location=DIR/key.jks
ssl.keyStore.password=hidden
ssl.trustStore.location=DIR/trust.p12
ssl.clientAuth=want
client.portUnification=true
znode.container.checkIntervalMs=500
znode.container.maxNeverUsedIntervalMs=300000
admin.enableServer=true
admin.serverPort=8081
admin.commandURL=/zk
admin.snapshot.enabled=false
metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider
metricsProvider.httpHost=127.0.0.1
`, nil, nil)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "log", "triglot"), c.Member.WALDir)
	require.Len(t, legacy.Dirs, 2)
	require.True(t, c.Member.Storage.NoSync)
	z := c.ZooKeeper
	require.Equal(t, "127.0.0.1:2181 [::1]:2281 0.0.0.0:8081 127.0.0.1:7000", strings.Join([]string{z.Listen, z.Secure, z.Admin, z.Metrics}, " "))
	require.Equal(t, 20*time.Millisecond, z.Limits.Tick, "ZooKeeper takes any")
	require.Equal(t, time.Millisecond, z.Limits.MinSession)
	require.Equal(t, 7*time.Second, z.Limits.MaxSession)
	require.Zero(t, z.Limits.MaxPerIP)
	require.Equal(t, 9, z.Limits.MaxConns)
	require.Equal(t, 4<<20, z.Limits.MaxFrame)
	require.Equal(t, []string{"srvr", "mntr"}, z.Words)
	require.True(t, z.Features.ExtendedTypes && z.Features.EnforceQuota && z.Features.ReadOnly && z.Features.Reconfig)
	s := z.Security
	require.True(t, s.SkipACL && s.X509 && s.SASL && s.RequireAuth && !s.RequireSASL)
	require.Equal(t, "super:hidden", s.SuperDigest)
	require.Equal(t, "SHA-256", s.DigestAlgorithm)
	require.Equal(t, "CN=root", s.X509Super)
	require.Equal(t, []string{"alice"}, s.SASLSuper)
	require.Equal(t, []string{"sasl", "x509"}, s.AuthSchemes)
	require.Equal(t, filepath.Join(dir, "key.jks"), z.TLS.Stores.Key.Path)
	require.Equal(t, "hidden", z.TLS.Stores.Key.Password)
	require.Equal(t, "want", z.TLS.Stores.ClientAuth)
	require.True(t, z.TLS.Unification)
	require.Equal(t, 500*time.Millisecond, z.Reaper.CheckInterval)
	require.Equal(t, 5*time.Minute, z.Reaper.NeverUsed)
	require.Equal(t, "/zk", z.AdminServer.CommandURL)
	require.True(t, z.AdminServer.NoSnapshot)
	require.False(t, z.AdminServer.NoRestore)
	require.NotContains(t, fmt.Sprint(c.Notes)+z.AdminServer.InitialConfig, "hidden", "a secret is never logged")
	require.Contains(t, fmt.Sprint(c.Notes), "com.example.Mine")
	require.Contains(t, z.AdminServer.InitialConfig, "admin.commandURL=/zk")
}

// A flag wins over our variables, they over the file, and in the file its own keys
// over ZooKeeper's. etcd's variables are another server's.
func TestZooKeeperPrecedence(t *testing.T) {
	env := []string{"ETCD_NAME=other", "TRIGLOT_ZK_TICK=5s", "JVMFLAGS=-Dzookeeper.extendedTypesEnabled=true"}
	text := minimal + "triglot.zk-tick=4s\ntriglot.listen-client-urls=http://127.0.0.1:2379\ntriglot.zk-acl-over-etcd=hide\n"
	c, _, _, err := zooKeeper(t, text, nil, env[:1])
	require.NoError(t, err)
	require.Equal(t, "default", c.Member.Name)
	require.Equal(t, 4*time.Second, c.ZooKeeper.Limits.Tick)
	require.Equal(t, "http://127.0.0.1:2379", c.Listen.Client.String())
	require.Equal(t, core.ZnodeACLHide, *c.ZooKeeper.ACLOverEtcd)

	c, _, _, err = zooKeeper(t, text, nil, env)
	require.NoError(t, err)
	require.Equal(t, 5*time.Second, c.ZooKeeper.Limits.Tick)
	require.True(t, c.ZooKeeper.Features.ExtendedTypes)

	c, _, _, err = zooKeeper(t, text, []string{"--zk-tick=6s", "-Dzookeeper.extendedTypesEnabled=false"}, env)
	require.NoError(t, err)
	require.Equal(t, 6*time.Second, c.ZooKeeper.Limits.Tick)
	require.False(t, c.ZooKeeper.Features.ExtendedTypes, "the command line comes after the environment")
}

// AdminServer is off unless asked for: turned on, or its port named.
func TestAdminServerIsAskedFor(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"admin.enableServer=true": "0.0.0.0:8080",
		"admin.serverPort=1":      "0.0.0.0:1",
		"admin.serverAddress=::1": "[::1]:8080",
		"admin.enableServer=false\nadmin.serverPort=1": "",
	} {
		c, _, _, err := zooKeeper(t, minimal+text, nil, nil)
		require.NoError(t, err, text)
		require.Equal(t, want, c.ZooKeeper.Admin, text)
	}
}

func TestZooKeeperRefused(t *testing.T) {
	tests := []struct {
		text string
		args []string
		err  string
	}{
		{"clientPort=2181", nil, "dataDir is not set"},
		{"dataDir=DIR", nil, "neither clientPort nor secureClientPort is set"},
		{minimal + "initLimit=1\nsyncLimit=1\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2", nil, "myid file is missing"},
		{minimal + "server.1=a:1:2\nserver.2=b:1:2:observer\nstandaloneEnabled=false", nil, "initLimit is not set"},
		{minimal + "triglot.zk-tack=1s", nil, "unknown key triglot.zk-tack: did you mean triglot.zk-tick?"},
		{minimal + "triglot.zk-tick=1", nil, "triglot.zk-tick: \"1\" is not a duration"},
		{minimal + "ssl.authProvider=mine", nil, "No auth provider configured for the SSL authentication scheme 'mine'."},
		{minimal + "admin.forceHttps=true", nil, "zookeeper.admin.forceHttps cannot be honoured"},
		{minimal + "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\nmetricsProvider.httpsPort=1", nil, "metricsProvider.httpsPort is not supported"},
		{minimal + "sessionRequireClientSASLAuth=true", nil, "nobody could authenticate"},
		{minimal + "enforce.auth.enabled=true", nil, "zookeeper.enforce.auth.schemes must be configured"},
		{minimal + "enforce.auth.enabled=true\nenforce.auth.schemes=sasl", nil, "Authentication scheme sasl is not available."},
		{minimal + "DigestAuthenticationProvider.digestAlg=NONSENSE", nil, "don't support this ACL digest algorithm: NONSENSE"},
		{minimal + "java.security.auth.login.config=DIR/none", nil, "none: no such file"},
		{minimal + "znode.container.maxPerMinute=-1", nil, "must not be negative"},
		{minimal + "secureClientPort=2181\ntriglot.auto-tls=true", nil, "clientPort and secureClientPort both have port 2181: give one of them another"},
		{minimal + "admin.serverPort=2181", nil, "clientPort and admin.serverPort both have port 2181"},
		{
			minimal + "admin.serverPort=7000\nmetricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
			nil, "admin.serverPort and metricsProvider.httpPort both have port 7000",
		},
		{minimal, []string{"--listen-client-urls=http://127.0.0.1:2181"}, "clientPort and --listen-client-urls both have port 2181"},
		{minimal + "triglot.zk-tick=0s", nil, "triglot.zk-tick 0s is out of range"},
		{minimal, []string{"--zk-superdigest-file=/none"}, "--zk-superdigest-file: open /none"},
		{minimal, []string{"--config-file=a.yaml"}, "unknown flag --config-file"},
	}
	for _, test := range tests {
		_, _, _, err := zooKeeper(t, test.text, test.args, nil)
		var usage *UsageError
		require.ErrorAs(t, err, &usage, test.text)
		require.ErrorContains(t, err, test.err, test.text)
	}
	_, _, _, err := zooKeeper(t, minimal+"initLimit=1\nsyncLimit=1\nserver.1=a:1:2\nserver.2=b:1:2\ndataDir=DIR", nil, nil)
	require.ErrorContains(t, err, "myid file is missing")
}

// Nothing is said of a key that does what it says.
func TestOwnKeysAreNotCalledVain(t *testing.T) {
	c, _, _, err := zooKeeper(t, minimal+"triglot.zk-prefix=/a\nsnapCount=1\n", nil, nil)
	require.NoError(t, err)
	require.Equal(t, "/a", c.ZooKeeper.Mount)
	require.Len(t, c.Notes, 1)
	require.Contains(t, fmt.Sprint(c.Notes), "zookeeper.snapCount")
}

func TestTLSNeedsACertificate(t *testing.T) {
	for text, args := range map[string][]string{
		minimal + "secureClientPort=1":          nil,
		minimal + "client.portUnification=true": nil,
		minimal:                                 {"--zk-secure-listen=127.0.0.1:1"},
		minimal + "secureClientPort=1\nssl.trustStore.location=DIR/none": nil,
	} {
		_, _, _, err := zooKeeper(t, text, args, nil)
		require.ErrorContains(t, err, "need a certificate: give ssl.keyStore.location", text)
	}
	for _, enough := range []string{"ssl.keyStore.location=DIR/none", "triglot.auto-tls=true", "triglot.cert-file=DIR/c\ntriglot.key-file=DIR/k"} {
		_, _, _, err := zooKeeper(t, minimal+"secureClientPort=1\n"+enough, nil, nil)
		require.NoError(t, err, enough)
	}
	_, err := serve(t, []string{"--zk-secure-listen=127.0.0.1:1"}, nil, "")
	require.EqualError(t, err, "TLS key/cert (--cert-file, --key-file) must be provided for --zk-secure-listen")

	// The authorities are for ZooKeeper's clients then.
	certs := []string{"--cert-file=c", "--key-file=k", "--trusted-ca-file=a"}
	c, err := serve(t, append(certs, "--zk-secure-listen=127.0.0.1:1"), nil, "")
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(c.Notes), "has no effect")
	c, err = serve(t, certs, nil, "")
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(c.Notes), "has no effect")
}

func TestUsersAndSuperDigestComeFromFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	login := file("jaas.conf", "Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_bob=\"hidden\"; };")
	super := file("super", "super:D/InIHSb7yEEbrWz8b9l71RjZJU=\n")
	c, _, _, err := zooKeeper(t, minimal, []string{"-Djava.security.auth.login.config=" + login, "--zk-superdigest-file", super}, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"bob": "hidden"}, c.ZooKeeper.Security.Users)
	require.True(t, c.ZooKeeper.Security.SASL)
	require.Equal(t, "super:D/InIHSb7yEEbrWz8b9l71RjZJU=", c.ZooKeeper.Security.SuperDigest)

	c, err = serve(t, []string{"--zk-jaas", file("users.yaml", "users:\n  bob: hidden\n"), "--zk-require-sasl"}, nil, "")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"bob": "hidden"}, c.ZooKeeper.Security.Users)

	for text, want := range map[string]string{"": "is empty", "super": "holds no user:digest", ":x": "holds no user:digest", "a\nb": "does not hold one line", strings.Repeat("a", 5000): "does not hold one line"} {
		_, err = serve(t, []string{"--zk-superdigest-file", file("bad", text)}, nil, "")
		require.ErrorContains(t, err, want)
	}
}

func TestWordsThatNobodyKnows(t *testing.T) {
	c, _, _, err := zooKeeper(t, minimal+"4lw.commands.whitelist=ruok, stats, *\nDigestAuthenticationProvider.superDigest=hidden\n", nil, nil)
	require.NoError(t, err)
	require.Len(t, c.Notes, 2)
	require.Contains(t, fmt.Sprint(c.Notes), "word stats")
	require.NotContains(t, fmt.Sprint(c.Notes), "hidden")
}

func TestPortsOfDifferentAddressesAreDifferent(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{":1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "[::]:1", true},
		{"0.0.0.0:1", "10.0.0.1:1", true},
		{"0.0.0.0:1", "localhost:1", true},
		{"0.0.0.0:1", "here:1", true},
		{"127.0.0.1:1", "localhost:1", true},
		{"0.0.0.0:1", "[::1]:1", false},
		{"127.0.0.1:1", "10.0.0.1:1", false},
		{":1", ":2", false},
		{":0", ":0", false},
		{"", ":1", false},
	} {
		for _, pair := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
			_, same := samePort(pair[0], pair[1])
			require.Equal(t, test.same, same, pair)
		}
	}
}
