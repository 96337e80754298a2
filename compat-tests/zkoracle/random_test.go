package zkoracle

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	seeds    = flag.Int("seeds", 4, "number of random runs")
	seed     = flag.Uint64("seed", 1, "seed of the first random run; the next ones count up")
	steps    = flag.Int("steps", 1000, "commands of each random run")
	restarts = flag.Int("restarts", 2, "restarts of the servers within each random run")
	attempts = flag.Int("shrink", 0, "attempts to make a failing run smaller; each takes about two seconds")
	script   = flag.String("script", "", "a file of commands to run on a pair, instead of random ones")
)

// TestRandom sends random commands to a fresh pair of servers for each seed.
func TestRandom(t *testing.T) {
	target, err := targetFromEnv()
	require.NoError(t, err)
	counts := make(map[string]int)
	if *script != "" {
		text, err := os.ReadFile(*script)
		require.NoError(t, err)
		config, err := configOf(*script)
		require.NoError(t, err)
		commands := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
		found, err := replay(context.Background(), target, config, commands)
		require.NoError(t, err)
		report(t, target, found)
		return
	}
	for s := *seed; s < *seed+uint64(*seeds); s++ {
		found, err := randomRun(context.Background(), target, s, counts)
		require.NoError(t, err, "seed %d", s)
		if found != nil {
			t.Errorf("seed %d, command %d", s, len(found.script))
			report(t, target, found)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%6d %s", counts[kind], kind)
	}
	if !t.Failed() && *steps >= 500 {
		for _, kind := range []string{
			"create ok", "create2 ok", "createContainer ok", "delete ok", "setData ok", "exists ok", "getData ok", "getChildren ok",
			"getChildren2 ok", "getACL ok", "sync ok", "ping ok", "multi ok", "pipeline ok", "mixed ok", "setWatches ok", "checkWatches ok",
			"removeWatches ok", "connect ok", "reattach ok", "close ok", "drop ok", "setACL ok", "addWatch ok", "setWatches2 ok", "multiRead ok",
			"auth ok", "auth AuthFailed", "whoAmI ok", "getEphemerals ok", "getAllChildrenNumber ok", "create NoAuth", "setACL InvalidACL",
			"reconfig ReconfigDisabled", "op MarshallingError", "sasl ok",
		} {
			require.NotZero(t, counts[kind], "no %s: the generator is poor", kind)
		}
		require.Greater(t, counts["events"], *steps/10, "few events: the generator is poor")
	}
}

// randomRun makes one run. The restarts are spread evenly over it.
func randomRun(ctx context.Context, target target, seed uint64, counts map[string]int) (found *mismatch, err error) {
	g := newGenerator(seed)
	p, err := startPair(ctx, target, g.config()...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	every := *steps/(*restarts+1) + 1
	var script []string
	for n := range *steps {
		line := g.next()
		if n%every == every-1 {
			line = "restart " + pick(g, []string{"kill", "term"})
		}
		script = append(script, line)
		lines, err := p.step(script)
		if errors.As(err, &found) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		g.told(p.zooKeeper, line, lines)
		count(counts, line, lines)
	}
	counts["requests"] += p.ours.requests
	counts["reads to place events"] += p.ours.reads
	return nil, nil
}

// count notes what kind of command had what kind of answer.
func count(counts map[string]int, line string, lines []string) {
	kind := strings.Fields(line)[1]
	outcome := "ok"
	for _, name := range errorNames {
		if name != "ok" && (slices.Contains(lines, name) || answer(lines, name+" ") != "") {
			outcome = name
		}
	}
	counts[kind+" "+outcome]++
	for _, shown := range lines {
		for _, name := range eventNames {
			if strings.Contains(shown, ": "+name+" ") {
				counts["events"]++
			}
		}
	}
}

// report tells of a mismatch, made smaller if that is asked for. The script is
// written to a file, to be run again with -script.
func report(t *testing.T, target target, found *mismatch) {
	if found == nil {
		return
	}
	if *attempts > 0 {
		smaller, err := shrink(found, *attempts, func(script []string) (*mismatch, error) {
			return replay(context.Background(), target, found.config, script)
		})
		require.NoError(t, err)
		found = smaller
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("zkoracle-%d.txt", os.Getpid()))
	text := strings.Join(found.script, "\n") + "\n"
	for _, line := range found.config {
		text = "#cfg " + line + "\n" + text
	}
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	if n := len(found.script); n > 40 && *attempts == 0 {
		found.script = slices.Concat([]string{"..."}, found.script[n-40:])
	}
	t.Errorf("%v\nagain: go test ./zkoracle -run TestRandom -args -script %s -shrink 60", found, file)
}

func TestShrinkFindsTheCommandsThatMatter(t *testing.T) {
	var all []string
	for n := range 78 {
		all = append(all, fmt.Sprint(n))
	}
	runs := 0
	smaller, err := shrink(&mismatch{script: all}, 60, func(script []string) (*mismatch, error) {
		runs++
		if slices.Contains(script, "13") && slices.Contains(script, "42") && slices.Contains(script, "77") {
			return &mismatch{script: script}, nil
		}
		return nil, nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"13", "42", "77"}, smaller.script)
	require.LessOrEqual(t, runs, 60)
}
