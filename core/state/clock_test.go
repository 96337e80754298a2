package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestClockThatJumps: the leader's wall clock may be set back, or far ahead and back; the
// time of the state never goes back (design 3), and so that of no znode does.
func TestClockThatJumps(t *testing.T) {
	r := newRig(t)
	r.who = core.Principal{Member: true}
	var last int64
	for i, now := range []int64{1000, 5_000_000, 2000, 10, 5_000_100, 5_000_050} {
		r.clock = now - 10 // apply adds them
		r.apply(&core.Put{Key: []byte("/zk/a"), Value: []byte{byte(i)}})
		r.commit()
		f, err := r.view.Facts()
		require.NoError(t, err)
		require.Equal(t, max(last, now), f.Clock)
		last = f.Clock
		z, err := r.view.Znode("/a", 0)
		require.NoError(t, err)
		require.Equal(t, last, z.Mtime)
		require.Equal(t, int64(1000), z.Ctime)
	}
}
