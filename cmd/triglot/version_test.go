package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The Makefile gives the linker the commit's time: git log -1 --format=%ct.
func TestBuiltAtIsTheCommitsTime(t *testing.T) {
	defer func(before string) { gitTime = before }(gitTime)
	gitTime = "1700000000"
	require.Equal(t, time.Unix(1_700_000_000, 0), builtAt())
	for _, text := range []string{"", "yesterday"} {
		gitTime = text
		require.True(t, builtAt().IsZero(), "of a test, nothing is known")
	}
}
