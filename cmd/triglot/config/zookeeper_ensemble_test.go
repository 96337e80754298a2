package config

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core/member"
	"github.com/triglot/triglot/frontends/zk"
)

// ensemble loads a zoo.cfg of server 2.
func ensemble(t *testing.T, lines string, args ...string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "myid"), []byte("2\n"), 0o600))
	c, _, _, err := zooKeeper(t, "dataDir="+dir+"\nclientPort=2181\ninitLimit=10\nsyncLimit=5\n"+lines, args, nil)
	return c, err
}

const threeServers = "server.1=a:2888:3888\nserver.2=b:2889:3888:participant;2182\nserver.3=[::1]:2890:3888:participant\n"

// Servers as reconfig gives them (ZooKeeper 3.9 QuorumServer).
func TestServersOfReconfig(t *testing.T) {
	c, err := ensemble(t, "reconfigEnabled=true\nstandaloneEnabled=false\nserver.1=a:2888:3888\nserver.2=b:2889:3888\n")
	require.NoError(t, err)
	e := c.ZooKeeper.Ensemble
	require.True(t, e.Sole)
	require.False(t, e.TLS)
	require.EqualValues(t, maxObservers, c.Cluster.Members.MaxLearners)
	s, err := e.Parse(7, "h:1:2:observer;0.0.0.0:3")
	require.NoError(t, err)
	require.Equal(t, zk.EnsembleServer{
		ID: 7, Line: "server.7=h:1:2:observer;0.0.0.0:3", Observer: true, Peers: []string{"h:1"}, Own: []string{"h:1", "h:2"}, Clients: true,
	}, s)
	s, err = e.Parse(8, "[::1]:1:2;c:3")
	require.NoError(t, err)
	require.Equal(t, []string{"c:3"}, s.Own, "what means another host on each is nobody's")
	for _, bad := range []string{"", "h", "h:1", "h:1:1", "h:1:2:voter", "h:1:70000", "h:1:2;x"} {
		_, err := e.Parse(7, bad)
		require.Error(t, err, bad)
	}
	pairs, err := e.Properties("server.1=a:1:2\n server.2 : b:1:2\n")
	require.NoError(t, err)
	require.Equal(t, [][2]string{{"server.1", "a:1:2"}, {"server.2", "b:1:2"}}, pairs)
}

// The lines server.N of a zoo.cfg are an --initial-cluster that all servers share.
func TestEnsemble(t *testing.T) {
	c, err := ensemble(t, "tickTime=4000\nserver.1=a:2888:3888\nserver.2=b:2889:3888;10.0.0.2:2181\nserver.3=[::1]:2890:3888|c:2890:3888\nserver.4=d:1:2:observer\n")
	require.NoError(t, err)
	require.Equal(t, "2", c.Member.Name)
	require.Equal(t, "http://b:2889", c.Cluster.AdvertisePeer.String())
	require.Equal(t, "http://b:2889", c.Listen.Peer.String())
	require.Equal(t, "10.0.0.2:2181", c.ZooKeeper.Listen)
	require.Equal(t, "zookeeper", c.Cluster.Token)
	require.True(t, c.Cluster.Trust)
	require.False(t, c.Cluster.Members.Observer)
	require.Equal(t, 2*time.Second, c.Member.Election, "half a tick")
	require.Equal(t, 200*time.Millisecond, c.Member.Heartbeat)
	founders, err := c.Founders()
	require.NoError(t, err)
	require.Equal(t, []member.Peer{
		{Name: "1", URLs: []string{"http://a:2888"}},
		{Name: "2", URLs: []string{"http://b:2889"}},
		{Name: "3", URLs: []string{"http://[::1]:2890", "http://c:2890"}},
		{Name: "4", URLs: []string{"http://d:1"}, Learner: true},
	}, founders)

	require.Equal(t, `server.1=a:2888:3888:participant
server.2=b:2889:3888:participant;10.0.0.2:2181
server.3=[::1]:2890:3888|c:2890:3888:participant
server.4=d:1:2:observer
`, c.ZooKeeper.Ensemble.Servers)

	c, err = ensemble(t, "tickTime=100\nquorumListenOnAllIPs=true\npeerType=observer\nserver.1=a:1:2\nserver.3=c:1:2\nserver.2=b:2889:3888:observer\n")
	require.NoError(t, err)
	require.Equal(t, "http://0.0.0.0:2889", c.Listen.Peer.String())
	require.Equal(t, "http://b:2889", c.Cluster.AdvertisePeer.String())
	require.True(t, c.Cluster.Members.Observer)
	require.Equal(t, time.Second, c.Member.Election, "and no less than etcd's")
	require.Contains(t, fmt.Sprint(c.Notes), "No server failure will be tolerated. You need at least 3 servers.")

	// A sole server is one of an ensemble if that is what it is to become.
	c, err = ensemble(t, "standaloneEnabled=false\nserver.2=b:1:2\n")
	require.NoError(t, err)
	require.Equal(t, "http://b:1", c.Listen.Peer.String())
	c, err = ensemble(t, "server.2=b:1:2\n")
	require.NoError(t, err)
	require.Empty(t, c.Listen.Peer)

	// What is of Triglot's own wins over what follows from the lines.
	c, err = ensemble(t, threeServers+"clientPort=2182\ntriglot.election-timeout=3000\ntriglot.initial-cluster-state=existing\n")
	require.NoError(t, err)
	require.Equal(t, 3*time.Second, c.Member.Election)
	require.True(t, c.Cluster.Existing)
}

func TestEnsembleTLS(t *testing.T) {
	const keys = "sslQuorum=true\nssl.quorum.keyStore.location=k.pem\nssl.quorum.keyStore.password=hidden\nssl.quorum.trustStore.location=t.pem\n"
	c, err := ensemble(t, keys+"server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nportUnification=true\nssl.quorum.hostnameVerification=false\n")
	require.NoError(t, err)
	require.Equal(t, "https://b:1", c.Listen.Peer.String())
	q := c.TLS.Quorum
	require.True(t, q.Unification)
	require.True(t, q.Stores.Quorum)
	require.True(t, q.Stores.AnyServer)
	require.False(t, q.Stores.VerifyHosts)
	require.Equal(t, "k.pem", q.Stores.Key.Path)
	require.Equal(t, "t.pem", q.Stores.Trust.Path)
	require.NotContains(t, fmt.Sprint(c.Notes), "hidden")
	require.NotContains(t, fmt.Sprint(c.Notes), "ssl.quorum.keyStore.location", "it is not vain")

	c, err = ensemble(t, keys+"server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n")
	require.NoError(t, err)
	require.False(t, c.TLS.Quorum.Stores.AnyServer)
	require.True(t, c.TLS.Quorum.Stores.VerifyHosts)
}

func TestEnsembleRefused(t *testing.T) {
	for lines, want := range map[string]string{
		"server.1=a:1:2\nserver.3=c:1:2\n":                                            "My id 2 not in the peer list",
		threeServers + "clientPort=1\n":                                               "is different from client address found in dynamic file",
		"server.1=a:1:2\nserver.2=0.0.0.0:1:2\n":                                      "server.2=0.0.0.0:1:2 names no host at which other servers find it",
		"server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\n":                               "group.1 cannot be honoured",
		"server.1=a:1:2\nserver.2=b:1:2\noraclePath=/o\nweight.x=1\n":                 "weight.x cannot be honoured",
		"server.1=a:1:2\nserver.2=b:1:2\noraclePath=/o\n":                             "oraclePath cannot be honoured",
		"server.1=a:1:2\nserver.2=b:1:2\nquorum.auth.enableSasl=true\n":               "quorum.auth.enableSasl cannot be honoured",
		"server.1=a:1:2\nserver.2=b:1:2\nsslQuorum=true\n":                            "sslQuorum=true needs a certificate: give ssl.quorum.keyStore.location",
		"server.1=a:1:2\nserver.2=a:1:2\n":                                            `has duplicate url: http://a:1 is that of "1" and of "2"`,
		"server.1=a:1:2\nserver.2=b:1:2\ntriglot.initial-advertise-peer-urls=nowhere": "URL scheme must be",
	} {
		_, err := ensemble(t, lines)
		require.ErrorContains(t, err, want, lines)
	}
}
