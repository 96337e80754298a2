package oracle

import (
	"context"
	"flag"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

var (
	seeds    = flag.Int("seeds", 2, "number of random runs")
	seed     = flag.Uint64("seed", 1, "seed of the first random run; the next ones count up")
	steps    = flag.Int("steps", 1000, "requests of each random run")
	restarts = flag.Int("restarts", 1, "restarts of the servers within each random run")
	members  = flag.Int("members", 1, "members of each side; of several, the client speaks to a follower, or with even seeds to each in turn")
	attempts = flag.Int("shrink", 0, "attempts to make a failing run smaller; each takes about a second")
)

// kinds are the calls that every run must have made with success.
var kinds = []string{"put", "range", "rangestream", "delete", "txn", "compact", "grant", "revoke", "ttl", "leases", "keepalive", "watch", "cancel"}

// TestRandom sends random requests to a fresh pair of servers for each seed.
func TestRandom(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	ctx := context.Background()
	counts := make(map[string]int)
	for s := *seed; s < *seed+uint64(*seeds); s++ {
		run := plan{seed: s, restarts: *restarts, members: *members}
		for n := range *steps {
			run.steps = append(run.steps, n)
		}
		found, err := run.run(ctx, target, counts)
		require.NoError(t, err)
		if found == nil {
			continue
		}
		if *attempts > 0 {
			run, found, err = run.shrink(found, *attempts, func(smaller plan) (*mismatch, error) {
				return smaller.run(ctx, target, make(map[string]int))
			})
			t.Errorf("smaller: %d steps: %v", len(run.steps), run.steps)
			require.NoError(t, err)
		}
		t.Errorf("%v\nagain: go test ./oracle -run TestRandom -seeds 1 -seed %d -steps %d -restarts %d -members %d -shrink 60",
			found, s, *steps, *restarts, *members)
	}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%6d %s", counts[kind], kind)
	}
	if !t.Failed() && *steps >= 500 && *restarts > 0 {
		for _, name := range kinds {
			require.NotZero(t, counts[name]+counts["restart,"+name], "no %s has succeeded: the generator is poor", name)
		}
		require.Greater(t, counts["events"], *steps/20, "few events: the generator is poor")
	}
}

func TestShrinkFindsTheStepsThatMatter(t *testing.T) {
	run := plan{}
	for n := range 100 {
		run.steps = append(run.steps, n)
	}
	runs := 0
	smaller, found, err := run.shrink(&mismatch{step: 77}, 60, func(pl plan) (*mismatch, error) {
		runs++
		if slices.Contains(pl.steps, 13) && slices.Contains(pl.steps, 42) && slices.Contains(pl.steps, 77) {
			return &mismatch{step: 77}, nil
		}
		return nil, nil
	})
	require.NoError(t, err)
	require.Equal(t, []int{13, 42, 77}, smaller.steps)
	require.Equal(t, 77, found.step)
	require.LessOrEqual(t, runs, 60)

	few, _, err := run.shrink(&mismatch{step: 77}, 1, func(plan) (*mismatch, error) { return nil, nil })
	require.NoError(t, err)
	require.Len(t, few.steps, 78, "given up, without what comes after the mismatch")
}
