package node

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
)

// A member's account of itself comes over as it was given, whatever a newer version adds.
func TestStatusOnTheWire(t *testing.T) {
	want := core.MemberStatus{
		Observer: true, Sessions: 7,
		Status: core.Status{
			Leader: 1 << 63, Term: 2, Committed: 3, Applied: 4, Rev: 5, CompactRev: -1, Size: 6, InUse: 7, Quota: -1, Learner: true,
			Alarms:         []core.Alarm{{Member: 9, Type: core.AlarmCorrupt}, {Member: 1 << 62, Type: core.AlarmNoSpace}},
			ClusterVersion: "3.7.0", DowngradeTo: "3.6.0",
		},
	}
	b := encodeStatus(&want)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 99, protowire.Fixed32Type), 1)
	b = protowire.AppendVarint(protowire.AppendTag(b, 100, protowire.VarintType), 1)
	var got core.MemberStatus
	require.NoError(t, decodeStatus(&got, b))
	require.Equal(t, want, got)
	for i := range b {
		_ = decodeStatus(new(core.MemberStatus), b[:i]) // an error or less, and no panic
	}
	require.Error(t, decodeStatus(&got, b[:len(b)-1]))
}

func FuzzStatus(f *testing.F) {
	f.Add(encodeStatus(&core.MemberStatus{Sessions: 1, Status: core.Status{Alarms: []core.Alarm{{Member: 1, Type: 1}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s core.MemberStatus
		if decodeStatus(&s, b) != nil {
			return
		}
		var again core.MemberStatus
		require.NoError(t, decodeStatus(&again, encodeStatus(&s)))
		require.Equal(t, s, again)
	})
}

// A member that is alone is all of its overview.
func TestOverviewOfOne(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	put(t, n, "k", "v")
	var all []core.MemberStatus
	require.Eventually(t, func() bool { // the put is answered before it counts as applied
		var err error
		all, err = n.Overview(testContext(t), core.Principal{})
		require.NoError(t, err)
		require.Len(t, all, 1)
		return all[0].Lag == 0
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, all[0].Err)
	require.Equal(t, n.Status().Member, all[0].Member.ID)
	require.Equal(t, core.Rev(2), all[0].Status.Rev)
	require.Zero(t, all[0].Sessions)
}

// A member that is away is told apart from one that is there and slow.
func TestOverviewOfAMemberThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(_ int, cfg *Config) { cfg.Peers.ReadTimeout = 3 * overviewPatience })
		leader := c.waitLeader()
		away, asked := c.followers(leader)[0], c.nodes[leader]
		id := c.id(away)
		why := func() string {
			all, err := asked.Overview(testContext(t), core.Principal{})
			require.NoError(t, err)
			i := slices.IndexFunc(all, func(m core.MemberStatus) bool { return m.Member.ID == id })
			if all[i].Err == nil {
				return ""
			}
			require.ErrorIs(t, all[i].Err, core.Timeout)
			return all[i].Err.Error()
		}
		require.Empty(t, why())
		undo := c.isolate(away)
		require.Equal(t, "request timed out: no answer within 2s", why())
		undo()
		c.stop(away)
		c.eventually("it is missed", func() bool {
			return strings.HasPrefix(why(), "request timed out: "+testURL(away)+": ")
		})
		c.stopAll()
	})
}
