package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLongestGap(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	times := []time.Time{at(0), at(500), at(510), at(900), at(910)}
	require.Equal(t, 390*time.Millisecond, longestGap(times, at(505)), "what was before does not count")
	require.Equal(t, 500*time.Millisecond, longestGap(times, at(400)), "one that was under way does")
	require.Zero(t, longestGap(times[:1], at(0)))
}

func TestTable(t *testing.T) {
	table := newTable("Title.")
	table.set("a", "x", "1")
	table.set("a", "y", "2")
	table.set("b", "y", "3")
	var out strings.Builder
	table.write(&out)
	require.Equal(t, "Title.\n\n| | x | y |\n|---|---|---|\n| a | 1 | 2 |\n| b |  | 3 |\n\n", out.String())
}
