package zk

import (
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// word asks a four-letter word and returns all that comes.
func (s *server) word(word string) string {
	s.Helper()
	c := s.dial()
	c.write([]byte(word))
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c.nc)
	require.NoError(s, err)
	return string(b)
}

// The forms are those of ZooKeeper 3.9.5, but for the date, which go-zookeeper
// cannot read there.
func TestFourLetterWords(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Build = "0123abc"; c.Built = time.Unix(1e9, 0) })
	c := s.connect()
	c.create("/e", "data", wire.Ephemeral)
	require.Equal(t, wire.OK, c.exists("/e", true))
	require.Eventually(t, func() bool { // a reply is counted just after it is written
		return s.face.sessions.list()[0].stats.sent.Load() == 3 && s.face.stats.outstanding.Load() == 0
	}, patience, time.Millisecond)
	const version = `3\.9\.5-0123abc, built on 09/09/2001 01:46 UTC`
	figures := `Latency min/avg/max: \d+/\d+\.\d+/\d+
Received: \d+
Sent: \d+
Connections: 2
Outstanding: 0
Zxid: 0x2
Mode: standalone
Node count: 6
`
	for word, want := range map[string]string{
		"ruok":   `imok`,
		"ruok\n": `imok`,
		"isro":   `rw`,
		"srvr":   "Zookeeper version: " + version + "\n" + figures,
		"stat": "Zookeeper version: " + version + `
Clients:
 /127\.0\.0\.1:\d+\[1\]\(queued=0,recved=2,sent=3\)
 /127\.0\.0\.1:\d+\[0\]\(queued=0,recved=1,sent=0\)

` + figures,
		"conf": `clientPort=\d+
secureClientPort=-1
dataDir=data
dataDirSize=\d+
dataLogDir=data
dataLogSize=\d+
tickTime=500
maxClientCnxns=0
minSessionTimeout=1000
maxSessionTimeout=10000
clientPortListenBacklog=-1
serverId=0
`,
		"envi": `Environment:
zookeeper\.version=` + version + `
host\.name=.*
java\.version=.*
(?s:.*)`,
		"mntr": `zk_version	` + version + `
zk_server_state	standalone
zk_avg_latency	\d+\.\d+
(zk_\w+	-?\d+
)+`,
	} {
		require.Regexp(t, "^"+want+"$", s.word(word), word)
	}
	mntr := s.word("mntr")
	for _, line := range []string{
		"znode_count\t6", "ephemerals_count\t1", "watch_count\t1", "num_alive_connections\t2", "global_sessions\t1",
	} {
		require.Contains(t, mntr, "zk_"+line+"\n")
	}
	for _, word := range strings.Fields("cons crst dirs dump gtmk hash icfg lsnp srst stmk sysp wchc wchp wchs") {
		require.Equal(t, word+" is not executed because it is not in the whitelist.\n", s.word(word))
	}
	require.Empty(t, s.word("nope"))
	c.ok(wire.OpPing, nil, nil)
}

type leaderless struct{ core.Cluster }

func (leaderless) Self() core.Self { return core.Self{Member: 1} }

func TestFourLetterWordsWithoutALeader(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Cluster = leaderless{c.Cluster} })
	for _, word := range []string{"srvr", "stat", "mntr", "conf"} {
		require.Equal(t, "This ZooKeeper instance is not currently serving requests\n", s.word(word))
	}
	require.Equal(t, "null", s.word("isro"))
	require.Equal(t, "imok", s.word("ruok"))
}

func TestJavaDouble(t *testing.T) {
	for f, want := range map[float64]string{0: "0.0", 1: "1.0", 0.25: "0.25", 12.3456: "12.3456"} {
		require.Equal(t, want, javaDouble(f))
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s := startServer(t, func(c *Config) { c.Metrics = registry })
	s.connect().create("/a", "", wire.Persistent)
	families, err := registry.Gather()
	require.NoError(t, err)
	require.Len(t, families, len(s.face.gauges()))
	name := regexp.MustCompile(`^[a-z_]+$`)
	for _, f := range families {
		require.Regexp(t, name, f.GetName())
		if f.GetName() == "znode_count" {
			require.Equal(t, 6.0, f.GetMetric()[0].GetGauge().GetValue())
		}
	}
}
