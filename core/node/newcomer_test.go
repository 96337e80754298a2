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
		{peer.Newcomer{Hello: peer.Hello{Name: "m1"}, PeerURLs: []string{"http://b:1"}}, `member 2 ([http://b:1]) has the name "m1", which another member has`},
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

// Two members of one name could not be told apart by an operator.
func TestJoinUnderAnothersName(t *testing.T) {
	a := answered{url: "http://a:1", Introduction: peer.Introduction{Members: []core.Member{
		{ID: 1, Name: "m1", PeerURLs: []string{"http://a:1"}}, {ID: 2, PeerURLs: []string{"http://b:1"}},
	}}}
	cfg := Config{Name: "m2", Cluster: Founding{
		Peers:             []Peer{{Name: "x", URLs: []string{"http://a:1"}}, {Name: "m2", URLs: []string{"http://b:1"}}},
		AdvertisePeerURLs: []string{"http://b:1"},
	}}
	self, err := a.place(&cfg)
	require.NoError(t, err)
	require.EqualValues(t, 2, self.ID)
	cfg.Name, cfg.Cluster.Peers[1].Name = "m1", "m1"
	_, err = a.place(&cfg)
	require.EqualError(t, err, `member 1 has the name "m1" already: give this one another --name`)
}
