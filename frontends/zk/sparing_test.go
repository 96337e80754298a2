package zk

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSparing(t *testing.T) {
	var s sparing[int]
	says := func(k int, at time.Duration, want int) {
		t.Helper()
		left, ok := s.due(k, at)
		require.True(t, ok)
		require.Equal(t, want, left)
	}
	silent := func(k int, at time.Duration) {
		t.Helper()
		_, ok := s.due(k, at)
		require.False(t, ok)
	}
	says(-1, 0, 0)
	silent(-1, sparingPause-1)
	silent(-1, sparingPause-1)
	says(-2, sparingPause-1, 0)
	says(-1, sparingPause, 2)
	silent(-1, sparingPause)
	for i := range maxSpared - 2 {
		says(i, sparingPause, 0)
	}
	silent(maxSpared, sparingPause)
	silent(maxSpared, 2*sparingPause-2)
	require.Len(t, s.told, maxSpared)
	says(maxSpared, 2*sparingPause-1, 2) // -2 is old enough
	says(-1, 2*sparingPause, 1)
	says(maxSpared+1, 3*sparingPause, 0)
	require.Len(t, s.told, 1, "the others are old")
}
