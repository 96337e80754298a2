package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/peer"
)

// What is wrong with a newcomer is told by the members that it asks, too.
func TestNewcomers(t *testing.T) {
	i := peer.Introduction{
		Cluster: 7, Members: []core.Member{{ID: 1, Name: "m1", PeerURLs: []string{"http://a:1"}}, {ID: 2, PeerURLs: []string{"http://b:1"}}},
		Removed: []core.MemberID{3},
	}
	founder := func(cluster uint64, id core.MemberID) peer.Newcomer {
		return peer.Newcomer{Hello: peer.Hello{Cluster: cluster, From: id, Name: "n"}, PeerURLs: []string{"http://c:1"}}
	}
	joiner := func(url string) peer.Newcomer {
		return peer.Newcomer{Hello: peer.Hello{Name: "n"}, PeerURLs: []string{url}}
	}
	for _, c := range []struct {
		who  peer.Newcomer
		want string
	}{
		{peer.Newcomer{}, ""},
		{founder(7, 2), ""},
		{joiner("http://b:1"), ""},
		{founder(8, 2), `member 2 ("n", [http://c:1]) is to found cluster 8, this is cluster 7: look at --initial-cluster-token and --initial-cluster`},
		{founder(7, 1), `member 1 ("n", [http://c:1]) has started before, and has no data directory now`},
		{founder(7, 3), `member 3 ("n", [http://c:1]) was removed from the cluster`},
		{founder(7, 4), `member "n", with the peer URLs [http://c:1], is none of this cluster: add it first`},
		{joiner("http://c:1"), `member "n", with the peer URLs [http://c:1], is none of this cluster: add it first`},
		{joiner("http://a:1"), `member 1 ("n", [http://a:1]) has started before, and has no data directory now`},
	} {
		if err := amiss(&i, &c.who); c.want != "" {
			require.EqualError(t, err, c.want)
		} else {
			require.NoError(t, err)
		}
	}
}

// Nobody goes on alone whose cluster lives: the others would end.
func TestForceNewClusterOfOneThatLives(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.ready()
	leader := c.waitLeader()
	stopped := c.followers(leader)[0]
	c.stop(stopped)
	c.configs[stopped].Cluster.ForceNew = true
	_, err := c.tryStart(stopped)
	require.ErrorContains(t, err, "--force-new-cluster: the cluster lives")

	c.configs[stopped].Cluster.ForceNew = false
	c.start(stopped)
	c.ready()
	members, err := c.nodes[stopped].Members(testContext(t), true)
	require.NoError(t, err)
	require.Len(t, members, 3)
}
