package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core/state"
)

// TestCheckpointIsShared: who asks while another is being sent a checkpoint, or a moment
// later, is sent the same one; it goes after a while, or when the log does not reach
// back to it any more.
func TestCheckpointIsShared(t *testing.T) {
	n := startNode(t, testConfig(t))
	putMany(t, n, 0, 10)
	o := &n.peers.states.outgoing
	first, err := o.take(t.Context(), 2)
	require.NoError(t, err)
	_, ok := o.needed()
	require.True(t, ok)
	putMany(t, n, 10, 20)
	second, err := o.take(t.Context(), 2)
	require.NoError(t, err)
	require.Same(t, first, second)
	o.give(second, 0)
	require.NoError(t, o.tidy(time.Now().Add(time.Hour)), "somebody is being sent it")
	o.give(first, 0)
	require.NoError(t, o.tidy(time.Now()))
	index, ok := o.needed()
	require.True(t, ok)
	require.Equal(t, first.index, index)
	r := n.upkeep.retained(t.Context(), first.index+3)
	require.Equal(t, first.index, r.transfers)

	require.NoError(t, n.disk.log.Truncate(first.index+1))
	third, err := o.take(t.Context(), 2)
	require.NoError(t, err)
	require.NotSame(t, first, third)
	require.NoError(t, o.tidy(time.Now()), "the first is no use")
	held, err := n.disk.dir.fs.List("data/" + outgoingName)
	require.NoError(t, err)
	require.Equal(t, []string{"2"}, held)
	o.give(third, 0)
	require.NoError(t, o.tidy(time.Now().Add(checkpointLasts+time.Second)))
	_, ok = o.needed()
	require.False(t, ok)
	require.Equal(t, index, mustHead(t, n, index).Index)
	stopNode(t, n)
}

// TestLogIsKeptForACheckpoint: from before it is made, for it is as of then or later.
func TestLogIsKeptForACheckpoint(t *testing.T) {
	n := startNode(t, testConfig(t))
	putMany(t, n, 0, 10)
	o := &n.peers.states.outgoing
	before := n.Status().Applied // or more: a put is answered before it is counted as applied
	c := o.plan()
	planned, ok := o.needed()
	require.True(t, ok)
	require.GreaterOrEqual(t, planned, before)
	putMany(t, n, 10, 20)
	index, ok := o.needed()
	require.True(t, ok)
	require.Equal(t, planned, index)
	require.Equal(t, planned, n.upkeep.retained(t.Context(), planned+10).transfers)
	made, err := o.create(c)
	require.NoError(t, err)
	require.GreaterOrEqual(t, made, planned)
	o.give(c, 0)
	stopNode(t, n)
}

// mustHead makes a checkpoint and reads its head, which is at index or later.
func mustHead(t *testing.T, n *Node, index uint64) state.Head {
	c, err := n.peers.states.outgoing.take(t.Context(), 2)
	require.NoError(t, err)
	defer n.peers.states.outgoing.give(c, 0)
	head, err := headIn(n.cfg.FS, c.dir)
	require.NoError(t, err)
	require.Equal(t, c.index, head.Index)
	require.GreaterOrEqual(t, head.Index, index)
	head.Index = index
	return head
}
