//go:build !failpoints

package failpoint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHitIsFree(t *testing.T) {
	require.False(t, Enabled)
	require.Zero(t, testing.AllocsPerRun(100, func() { Hit(RaftAfterSave) }))
}
