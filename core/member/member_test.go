package member

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestIdentity checks T-100 against what a real etcd 3.7.3 reports: started with
// its default flags it calls itself 8e9e05c52164694d in cluster cdf818194e3a8c32.
func TestIdentity(t *testing.T) {
	peers, err := ParsePeers("default=http://localhost:2380")
	require.NoError(t, err)
	members, err := Found(peers, "etcd-cluster")
	require.NoError(t, err)
	require.Equal(t, "8e9e05c52164694d", fmt.Sprintf("%x", uint64(members[0].ID)))
	require.Equal(t, "cdf818194e3a8c32", fmt.Sprintf("%x", ClusterID(members)))
}

func TestIdentityIgnoresOrder(t *testing.T) {
	a, b := "http://10.0.0.1:2380", "http://10.0.0.1:2390"
	require.Equal(t, ID([]string{a, b}, "t"), ID([]string{b, a}, "t"))
	require.NotEqual(t, ID([]string{a, b}, "t"), ID([]string{a, b}, "u"))

	x, y := core.Member{ID: 1}, core.Member{ID: 2}
	require.Equal(t, ClusterID([]core.Member{x, y}), ClusterID([]core.Member{y, x}))
}

func TestParsePeers(t *testing.T) {
	got, err := ParsePeers("b=http://h:1, a=http://h:2,b=http://h:3")
	require.NoError(t, err)
	require.Equal(t, []Peer{{Name: "b", URLs: []string{"http://h:1", "http://h:3"}}, {Name: "a", URLs: []string{"http://h:2"}}}, got)
	for _, bad := range []string{"", "a", "=http://h:1", "a=", "a=http://h:1,"} {
		_, err := ParsePeers(bad)
		require.ErrorContains(t, err, "not of the form name=URL", bad)
	}
}

func TestFoundRefusesSharedURLs(t *testing.T) {
	_, err := Found([]Peer{{Name: "a", URLs: []string{"http://h:1"}}, {Name: "b", URLs: []string{"http://h:1"}}}, "t")
	require.ErrorContains(t, err, "the peer URL http://h:1 twice")
	_, err = Found([]Peer{{Name: "a", URLs: []string{"http://h:1"}}, {Name: "a", URLs: []string{"http://h:2"}}}, "t")
	require.ErrorContains(t, err, `two members of the initial cluster have the name "a"`)
	_, err = Found([]Peer{{Name: "a", URLs: []string{"u", "v"}}, {Name: "b", URLs: []string{"uv"}}}, "t")
	require.ErrorContains(t, err, "two members of the initial cluster have the id")
}

func TestSelf(t *testing.T) {
	peers := []Peer{{Name: "a", URLs: []string{"http://h:1"}}}
	_, err := Self(peers, "a", []string{"http://h:1"})
	require.NoError(t, err)
	_, err = Self(peers, "b", []string{"http://h:1"})
	require.ErrorContains(t, err, "does not mention")
	_, err = Self(peers, "a", []string{"http://h:2"})
	require.ErrorContains(t, err, "--initial-advertise-peer-urls")
}
