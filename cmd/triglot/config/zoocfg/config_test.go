package zoocfg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// write writes zoo.cfg, in which DIR is a directory of the test's, and perhaps other
// files there.
func write(t testing.TB, text string, others map[string]string) (path string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range others {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(content, "DIR", dir)), 0o600))
	}
	path = filepath.Join(dir, "zoo.cfg")
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600))
	return path
}

func TestDefaultsAreZooKeepers(t *testing.T) {
	path := write(t, "dataDir=DIR\nclientPort=2181\n", nil)
	c, err := Load(path, System{})
	require.NoError(t, err)
	require.Equal(t, filepath.Dir(path), c.DataDir)
	require.Equal(t, c.DataDir, c.LogDir)
	require.Equal(t, Address{Port: 2181, Given: true}, c.Client)
	require.Zero(t, c.Secure)
	require.Equal(t, 3*time.Second, c.Sessions.Tick)
	require.Equal(t, 6*time.Second, c.Sessions.Min)
	require.Equal(t, time.Minute, c.Sessions.Max)
	require.Equal(t, 60, c.MaxPerIP)
	require.Equal(t, int64(-1), c.Ensemble.ID)
	require.False(t, c.Reconfig)
	require.Empty(t, c.Notes)
}

func TestKeys(t *testing.T) {
	c, err := Load(write(t, `
tickTime = 2000
dataDir=DIR
dataLogDir=./log
clientPort=2181
clientPortAddress=127.0.0.1
secureClientPort=2281
minSessionTimeout=500
maxSessionTimeout=100000
maxClientCnxns=0
initLimit=10
syncLimit=5
reconfigEnabled=TRUE
autopurge.snapRetainCount=3
autopurge.purgeInterval=0
metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider
metricsProvider.httpPort=7001
4lw.commands.whitelist=stat, ruok
authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
superUser.1=alice
superUser=bob
superUserX=nobody
server.1=zk1:2888:3888
`, map[string]string{"myid": "1\n"}), System{})
	require.NoError(t, err)
	require.Equal(t, "./log", c.LogDir)
	require.Equal(t, Address{"127.0.0.1", 2181, true}, c.Client)
	require.Equal(t, Address{"", 2281, true}, c.Secure)
	require.Equal(t, 500*time.Millisecond, c.Sessions.Min)
	require.Equal(t, 100*time.Second, c.Sessions.Max)
	require.Zero(t, c.MaxPerIP)
	require.True(t, c.Reconfig)
	require.Equal(t, Prometheus, c.Metrics.Class)
	require.Equal(t, map[string]string{"httpPort": "7001"}, c.Metrics.Settings)
	require.Equal(t, "stat, ruok", c.System.Text("4lw.commands.whitelist"))
	require.Len(t, c.System.List("authProvider."), 1)
	require.Equal(t, []string{"bob", "alice"}, c.System.List("superUser"))
	require.Equal(t, int64(1), c.Ensemble.ID)
	require.Equal(t, 1, c.Ensemble.Participants())
	require.False(t, c.Ensemble.Distributed())
	require.Len(t, c.Notes, 2, "superUserX is nobody's, and one server is no ensemble")
}

// A property of the file wins over one of the command line: QuorumPeerConfig sets it.
// Those that ZooKeeper reads without its prefix are found either way.
func TestPropertiesOfFileAndCommandLine(t *testing.T) {
	var s System
	s.TakeEnvironment([]string{
		"JVMFLAGS=-Dzookeeper.extendedTypesEnabled=true  -Xmx1g -Dzookeeper.skipACL=no",
		"SERVER_JVMFLAGS=-Dzookeeper.skipACL=yes -Djute.maxbuffer=0x200000 -Dempty",
	})
	s.Define("zookeeper.snapCount=7")
	c, err := Load(write(t, "dataDir=DIR\nclientPort=1\nsnapCount=8\nreadonlymode.enabled=true\njute.maxbuffer=5\nforceSync=no\n", nil), s)
	require.NoError(t, err)
	require.True(t, c.System.Is("extendedTypesEnabled"))
	require.Equal(t, "no", c.System.Text("skipACL"), "JVMFLAGS come last")
	require.Equal(t, "8", c.System.Text("snapCount"))
	require.Equal(t, 0x200000, c.System.Number("jute.maxbuffer", 1))
	require.True(t, c.System.Is("readonlymode.enabled"))
	require.Equal(t, 3, c.System.Number("maxCnxns", 3))
	require.Equal(t, "7", s.Text("snapCount"), "the caller's properties are not changed")

	s.Define("zookeeper.snapCuont=7")
	c, err = Load(write(t, "dataDir=DIR\nclientPort=1\n", nil), s)
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(c.Notes), "zookeeper.snapCuont", "wherever it was given")
}

// What ZooKeeper says nothing of, and does not do, is said.
func TestValuesThatArePassedOver(t *testing.T) {
	var s System
	s.Define("jute.maxbuffer=abc")
	c, err := Load(write(t, "\xef\xbb\xbf# a comment\ndataDir=DIR\nclientPort=1\nadmin.serverPort=foo\nextendedTypesEnabled=yes\nskipACL=true\n"+
		"maxCnxns=5\nenforceQuota=TRUE\nforceSync=no\n", nil), s)
	require.NoError(t, err)
	text := fmt.Sprint(c.Notes)
	for _, name := range []string{"jute.maxbuffer", "admin.serverPort", "extendedTypesEnabled", "skipACL"} {
		require.Contains(t, text, "passed over [property "+name+" given")
	}
	require.Contains(t, text, "byte order mark")
	require.Len(t, c.Notes, 6, "and the comment is no comment to Java: %s", text)
}

func TestGroupsOfAServerByItself(t *testing.T) {
	for _, text := range []string{"weight.1=1", "server.1=a:1:2\ngroup.1=1", "server.1=a:1:2\ngroup.1=1:2:\nweight.2=0", "weight.1=x\noraclePath=/o"} {
		_, err := Load(write(t, "dataDir=DIR\nclientPort=1\n"+text, nil), System{})
		require.NoError(t, err, text)
	}
}

// The words of QuorumPeerConfig.
func TestRefused(t *testing.T) {
	const ok = "dataDir=DIR\nclientPort=2181\n"
	tests := []struct{ text, err string }{
		{"clientPort=2181", "dataDir is not set"},
		{"dataDir=\nclientPort=2181", "dataDir is empty"},
		{ok + "tickTime=0", "tickTime is not set"},
		{ok + "tickTime=-1", "tickTime -1 is not positive"},
		{ok + "tickTime=2s", `tickTime: For input string: "2s"`},
		{ok + "tickTime=3000000000", `tickTime: For input string: "3000000000"`},
		{ok + "minSessionTimeout=9\nmaxSessionTimeout=8", "minSessionTimeout must not be larger than maxSessionTimeout"},
		{"dataDir=DIR\nclientPortAddress=::1", "clientPortAddress is set but clientPort is not set"},
		{ok + "secureClientPortAddress=::1", "secureClientPortAddress is set but secureClientPort is not set"},
		{"dataDir=DIR\nclientPort=65536", "port out of range:65536"},
		{ok + "reconfigEnabled=yes", "Invalid option yes for reconfigEnabled. Choose 'true' or 'false.'"},
		{ok + "electionAlg=0", "Invalid electionAlg value. Only 3 is supported."},
		{ok + "peerType=learner", "Unrecognised peertype: learner"},
		{ok + "metricsProvider.className=a.B", "metrics provider class was not found: a.B"},
		{ok + "quorum.auth.serverRequireSasl=true", "quorum.auth.enableSasl is disabled, so cannot enable quorum.auth.serverRequireSasl"},
		{ok + "standaloneEnabled=false", "standaloneEnabled = false then number of participants should be >0"},
		{ok + "server.1=a:1:2:observer", "Observers w/o participants is an invalid configuration"},
		{ok + "server.1=a:1:2\nserver.2=b:1:2:observer", "Observers w/o quorum is an invalid configuration"},
		{ok + "server.x=a:1:2", `server.x: For input string: "x"`},
		{ok + "server.1=a:1", "does not have the form server_config"},
		{ok + "server.1=a:1:1", "Client and election port must be different! Please update the configuration file on server.1"},
		{ok + "server.1=[::1:1:2", "starts with '[' but has no matching ']:'"},
		{ok + "server.1=a:1:2\nserver.2=b:1:2", "initLimit is not set"},
		{ok + "initLimit=1\nserver.1=a:1:2\nserver.2=b:1:2", "syncLimit is not set"},
		{ok + "initLimit=1\nsyncLimit=1\nserver.1=a:1:2\nserver.2=b:1:2", "myid file is missing"},
		{ok + "weight.1=x", `weight.1: For input string: "x"`},
		{ok + "weight.x=1", `weight.x: For input string: "x"`},
		{ok + "weight=1", `weight: For input string: "weight"`},
		{ok + "group.1=", `group.1: For input string: ""`},
		{ok + "group.1=1:2\ngroup.2=2\nweight.1=1\nweight.2=1", "Server 2 is in multiple groups"},
		{ok + "group.1=7", "server 7 is in a group but has no weight"},
		{ok + "server.1=a:1:2\nweight.1=1", "Server 1 is not in a group"},
		{"\xef\xbb\xbf" + ok, "dataDir is not set (the file begins with a byte order mark"},
		{ok + "dynamicConfigFile=DIR/dyn\nserver.1=a:1:2", "parameter: server.1 must be in a separate dynamic config file"},
		{ok + "dynamicConfigFile=DIR/none", "none file is missing"},
		{ok + "a=\\u00", `Malformed \uxxxx encoding.`},
	}
	for _, test := range tests {
		_, err := Load(write(t, test.text, nil), System{})
		var invalid *InvalidError
		require.ErrorAs(t, err, &invalid, "%q", test.text)
		require.ErrorContains(t, err, test.err)
		require.ErrorContains(t, err, "Invalid config, exiting abnormally: Error processing ")
	}
	_, err := Load(filepath.Join(t.TempDir(), "zoo.cfg"), System{})
	require.ErrorContains(t, err, "zoo.cfg file is missing")
	_, err = Load(write(t, ok, map[string]string{"myid": "one\n"}), System{})
	require.ErrorContains(t, err, "serverid one is not a number")
}

func TestDynamicFile(t *testing.T) {
	const static = "dataDir=DIR\ndynamicConfigFile=DIR/zoo.cfg.dynamic.100\n"
	files := func(dynamic string) map[string]string {
		return map[string]string{"myid": "3", "zoo.cfg.dynamic.100": dynamic}
	}
	c, err := Load(write(t, static, files("server.3=a:2888:3888:participant;127.0.0.1:2181")), System{})
	require.NoError(t, err)
	require.Equal(t, Address{"127.0.0.1", 2181, true}, c.Client)

	c, err = Load(write(t, static+"clientPort=2181\n", files("server.3=[::1]:2888:3888|b:1:2;2181")), System{})
	require.NoError(t, err)
	require.Equal(t, Address{"0.0.0.0", 2181, true}, c.Client)

	for text, want := range map[string]string{
		"server.3=a:1:2;2182":           "client address for this server (id = 3) in static config file",
		"version=100":                   "dynamic file shouldn't have version inside",
		"clientPort=1":                  "Unrecognised parameter: clientPort",
		"server.3=a:1:2;1:2:3":          "does not have the form",
		"server.3=a:1:2;x":              "Address unresolved: x",
		"server.3=a:1:2|b:1:2:observer": "Multiple addresses should have similar roles",
	} {
		_, err = Load(write(t, static+"clientPort=2181\n", files(text)), System{})
		require.ErrorContains(t, err, want)
	}
}

func TestArguments(t *testing.T) {
	c, err := Arguments([]string{"2182", "/data", "1000", "5"}, System{})
	require.NoError(t, err)
	require.Equal(t, Address{Port: 2182, Given: true}, c.Client)
	require.Equal(t, "/data", c.DataDir)
	require.Equal(t, time.Second, c.Sessions.Tick)
	require.Equal(t, 5, c.MaxPerIP)
	_, err = Arguments([]string{"x", "/data"}, System{})
	require.EqualError(t, err, `Invalid arguments, exiting abnormally: clientPort: For input string: "x"`)
	_, err = Arguments(nil, System{})
	require.EqualError(t, err, "Invalid arguments, exiting abnormally: Invalid number of arguments:[]")
}

// Every property that ZooKeeper 3.9.5's sources name, as far as servers read it, has
// an effect of its own or is known to have none.
func TestEveryPropertyIsKnown(t *testing.T) {
	text, err := os.ReadFile("testdata/zookeeper-3.9.5.properties")
	require.NoError(t, err)
	names := strings.Fields(string(text))
	require.NotEmpty(t, names)
	for _, name := range names {
		require.NotEqual(t, unknown, effectOf(name), name)
	}
	require.Equal(t, unknown, effectOf("4lw.commands.whitelst"))
}

// A secret never reaches an error or a note.
func TestSecretsAreNotSaid(t *testing.T) {
	c, err := Load(write(t, "dataDir=DIR\nclientPort=1\nssl.keyStore.password=hidden\nmy.password=hidden\n", nil), System{})
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(c.Notes), "hidden")
	require.NotContains(t, c.Text, "hidden")
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"dataDir=/x\nclientPort=2181", "dataDir=/x\nserver.1=a:1:2;3", "tickTime=\\u0031", "dynamicConfigFile=/dev/null",
		"server.1=[::1]:1:2:observer;[::]:3|", "metricsProvider.x=y\nweight.1=2\ngroup.1=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "dynamicConfigFile") {
			return // it names a file of the machine's
		}
		c, err := Load(write(t, text, nil), System{})
		if err != nil {
			var invalid *InvalidError
			require.ErrorAs(t, err, &invalid)
			return
		}
		require.NotEmpty(t, c.DataDir)
		require.Positive(t, c.Sessions.Tick)
		require.LessOrEqual(t, c.Sessions.Min, c.Sessions.Max)
	})
}
