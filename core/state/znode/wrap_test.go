package znode

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// nothing is a store without rows.
type nothing struct{ Store }

func (nothing) GetRow([]byte) ([]byte, error) { return nil, nil }

// S2: after 2147483647 a sequence number goes on with -2147483648, and the cversion that
// clients see wraps as Java's does. ZooKeeper 3.9.5 stops there, and fails: see
// compat-tests/zkoracle TestCountersOfAnOldZooKeeper.
func TestSequenceWraps(t *testing.T) {
	tree := &Tree{store: nothing{}}
	parent := node{implicit: true, creates: math.MaxInt32}
	for _, want := range []struct {
		name     string
		cversion int32
	}{
		{"/s/n2147483647", -2}, {"/s/n-2147483648", -1}, {"/s/n-2147483647", 0},
	} {
		stat := parent.stat(nil)
		require.Equal(t, want.cversion, stat.Cversion)
		path, err := tree.newPath(&core.ZnodeOp{Path: "/s/n", Sequential: true}, &parent)
		require.NoError(t, err)
		require.Equal(t, want.name, path)
		parent.creates++ // as create does
		parent.children++
	}
}
