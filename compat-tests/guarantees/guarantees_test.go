package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

func TestLongestGap(t *testing.T) {
	at := time.UnixMilli
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
	require.NoError(t, table.write(&out))
	require.Equal(t, "Title.\n\n| | x | y |\n|---|---|---|\n| a | 1 | 2 |\n| b |  | 3 |\n\n", out.String())
}

// What was measured is not measured again, and a table has the medians of what there is.
func TestKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kept")
	k, err := openKept(path)
	require.NoError(t, err)
	c := &config{faces: []face{faces["etcd"], faces["triglot"], faces["triglot-zk"]}, rounds: 3, kept: k}
	p := part{name: "p", title: "Title.", steps: []step{{name: "s"}}}
	for round, ms := range []time.Duration{30, 10, 20} {
		require.NoError(t, k.add(c.id(p, p.steps[0], faces["etcd"], round), figures{"a": ms * time.Millisecond, "b": time.Second}))
	}
	require.NoError(t, k.add(c.id(p, p.steps[0], faces["triglot"], 0), figures{"a": time.Second}))
	require.NoError(t, k.close())

	c.kept, err = openKept(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.kept.close()) }()
	require.NotNil(t, c.kept.of(c.id(p, p.steps[0], faces["etcd"], 2)))
	require.Nil(t, c.kept.of(c.id(p, p.steps[0], faces["triglot"], 1)))
	p.fill = func(context.Context, *ensemble.Cluster, face) error { panic("nothing is missing") }
	require.NoError(t, c.turn(t.Context(), p, faces["etcd"], 0))
	var out strings.Builder
	require.NoError(t, c.tableOf(p).write(&out))
	require.Contains(t, out.String(), "| | etcd 3.7 | Triglot |")
	require.Contains(t, out.String(), "| a | 0.02 s (0.03 s) | 1.00 s (1.00 s) |")
	require.Contains(t, out.String(), "| b | 1.00 s (1.00 s) |  |")

	require.NoError(t, os.WriteFile(path, []byte("{"), 0o644))
	_, err = openKept(path)
	require.ErrorContains(t, err, path)
}

func TestCPUOf(t *testing.T) {
	first, err := cpuOf(os.Getpid())
	require.NoError(t, err)
	for deadline := time.Now().Add(30 * time.Second); ; {
		now, err := cpuOf(os.Getpid())
		require.NoError(t, err)
		if now > first {
			return
		}
		require.True(t, time.Now().Before(deadline), "what is busy uses the processor")
	}
}

// No two keys of one block have the same value, and none is short.
func TestValues(t *testing.T) {
	for _, size := range []int{smallKey, largeKey} {
		v := newValues(size)
		seen := map[string]bool{}
		for i := range 1000 {
			require.Len(t, v.of(i), size)
			seen[v.of(i)] = true
		}
		require.Len(t, seen, 1000)
		require.Len(t, v.of(10_000_000), size)
	}
}
