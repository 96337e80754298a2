package node

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestMembersOfOne makes etcd's checks on a cluster of one; the rest is compared with
// a real etcd by compat-tests/oracle.
func TestMembersOfOne(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	ctx, nobody, self := testContext(t), core.Principal{}, n.Self().Member
	require.NoError(t, n.Ready(ctx))
	m := n.Membership()

	for _, urls := range [][]string{
		nil, {"nonsense"}, {"http://h"}, {"ftp://h:1"}, {"http://h:1/path"}, {"http://h:1", "http://[::1"},
	} {
		_, _, err := m.Add(ctx, nobody, urls, false)
		require.ErrorIs(t, err, core.BadMemberURLs, "%q", urls)
	}
	for _, urls := range [][]string{{"http://h:1"}, {"unix://a:1"}} {
		_, _, err := m.Add(ctx, nobody, urls, true)
		require.ErrorIs(t, err, core.Unsupported)
	}
	_, err := m.Remove(ctx, nobody, 1)
	require.ErrorIs(t, err, core.MemberNotFound)
	_, err = m.Remove(ctx, nobody, self)
	require.ErrorIs(t, err, core.NotEnoughStarted)
	_, err = m.Promote(ctx, nobody, 1)
	require.ErrorIs(t, err, core.MemberNotFound)
	_, err = m.Promote(ctx, nobody, self)
	require.ErrorIs(t, err, core.NotLearner)
	_, err = m.Update(ctx, nobody, 1, []string{"http://h:1"})
	require.ErrorIs(t, err, core.MemberNotFound)

	changed := []core.Member{{
		ID: self, Name: "default", PeerURLs: []string{"http://h:2", "http://h:1"}, ClientURLs: cfg.AdvertiseClientURLs,
	}}
	members, err := m.Update(ctx, nobody, self, changed[0].PeerURLs)
	require.NoError(t, err)
	require.Equal(t, changed, members)
	stopNode(t, n)

	n = startNode(t, cfg) // the flags name the peer URLs that it was founded with
	require.NoError(t, n.Ready(testContext(t)))
	members, err = n.Members(testContext(t), true)
	require.NoError(t, err)
	require.Equal(t, changed, members)
	stopNode(t, n)
}

func TestLeadershipOfOne(t *testing.T) {
	n := startNode(t, testConfig(t))
	ctx := testContext(t)
	require.NoError(t, n.Ready(ctx))
	for _, id := range []core.MemberID{0, 1} {
		require.ErrorIs(t, n.MoveLeader(ctx, core.Principal{}, id), core.BadLeaderTransferee)
	}
	require.NoError(t, n.MoveLeader(ctx, core.Principal{}, n.Self().Member))
	stopNode(t, n)
}

func TestDowngrade(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	step := func(action core.DowngradeAction, version string) (string, error) {
		return n.Downgrade(testContext(t), core.Principal{}, core.Downgrade{Action: action, Version: version})
	}
	for _, c := range []struct {
		action  core.DowngradeAction
		version string
		want    string
		err     error
	}{
		{core.DowngradeValidate, "v3.6.0", "", core.BadVersionFormat},
		{core.DowngradeEnable, "", "", core.BadVersionFormat},
		{core.DowngradeValidate, "3.5", "", core.BadDowngradeTarget},
		{core.DowngradeEnable, "3.7.0", "", core.BadDowngradeTarget},
		{core.DowngradeValidate, "3.6.9", "3.7", nil},
		{core.DowngradeCancel, "x", "3.7", nil}, // only a line in the log
		{core.DowngradeEnable, "3.6.1", "3.7", nil},
		{core.DowngradeEnable, "3.6.0", "", core.BadDowngradeTarget},
		{core.DowngradeEnable, "3.5.0", "", core.DowngradeUnderWay},
	} {
		got, err := step(c.action, c.version)
		if c.err != nil {
			require.ErrorIs(t, err, c.err)
		} else {
			require.NoError(t, err)
		}
		if c.err == nil {
			require.Equal(t, c.want, got)
		}
	}
	stopNode(t, n)
	n = startNode(t, cfg)
	s := n.Status()
	require.Equal(t, [2]string{"3.6.0", "3.6.0"}, [2]string{s.ClusterVersion, s.DowngradeTo})
	got, err := step(core.DowngradeCancel, "")
	require.NoError(t, err)
	require.Equal(t, "3.6", got)
	s = n.Status()
	require.Equal(t, [2]string{"3.7.0", ""}, [2]string{s.ClusterVersion, s.DowngradeTo})
	stopNode(t, n)
}

// No learners are none at all, as with etcd's --max-learners=0.
func TestNoLearners(t *testing.T) {
	c := newTestCluster(t, 1, func(_ int, cfg *Config) { cfg.Members.MaxLearners = -1 })
	c.ready()
	_, _, err := c.nodes[0].Membership().Add(testContext(t), core.Principal{}, []string{"http://h:1"}, true)
	require.ErrorIs(t, err, core.TooManyLearners)
}

// One who is to join somebody has to say whom.
func TestJoinNobody(t *testing.T) {
	cfg := testConfig(t)
	cfg.Cluster.Existing = true
	cfg.Peers.Dial = newTestNetwork(t).dialer(0)
	_, err := Start(cfg)
	require.EqualError(t, err, "--initial-cluster-state=existing: --initial-cluster names no other member of the cluster to join")
}

// A change that is tried again and again while the members' connections are young, as
// ZooKeeper's reconfig is, says so once, and is no reason to worry; one that would put the
// quorum at risk is, and is told of once.
func TestRefusedChangesAreToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(syncBuffer) // each member has a handler
		c := newTestCluster(t, 3, func(_ int, cfg *Config) {
			cfg.Logger = slog.New(slog.NewTextHandler(log, nil)).With("member", cfg.Name)
		})
		leader := c.waitLeader()
		asked := c.nodes[leader].Membership()
		tried := 0
		for {
			_, _, err := asked.Add(testContext(t), core.Principal{}, []string{testURL(3)}, false)
			if tried++; err == nil {
				break
			}
			require.ErrorIs(t, err, core.Unhealthy)
			pass(500 * time.Millisecond)
		}
		require.Greater(t, tried, 5)
		told := func(text string) int { return strings.Count(log.String(), text) }
		require.Equal(t, 1, told("a change of members is refused"), log.String())
		require.Equal(t, 1, told(`level=INFO msg="a change of members is refused for some seconds`), log.String())

		down := c.followers(leader)[0]
		id := c.id(down)
		c.stop(down)
		c.eventually("it is known to be down", func() bool { return c.nodes[leader].peers.links()[id].IsZero() })
		for range 5 {
			_, _, err := asked.Add(testContext(t), core.Principal{}, []string{testURL(4)}, false)
			require.ErrorIs(t, err, core.Unhealthy)
		}
		require.Equal(t, 2, told("a change of members is refused"), log.String())
		require.Equal(t, 1, told(`level=WARN msg="a change of members is refused: it would put the quorum at risk"`), log.String())
		c.stopAll()
	})
}
