//go:build linux

package cluster

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
)

var (
	duration = flag.Duration("duration", time.Minute, "how long faults happen")
	seed     = flag.Uint64("seed", 0, "of the random choices; 0 draws one")
	size     = flag.Int("size", 3, "members of the cluster")
	lasts    = flag.Bool("lasting", false, "in place of -duration: the faults that last 30 s, once each")
	peerTLS  = flag.Bool("peer-tls", false, "members speak to each other by mutual TLS, which else one seed in four has")
)

// aChapter is how long a history is judged as a whole; what lasts longer has several.
const aChapter = 90 * time.Second

// manyChapters is a duration from which on the faults that take long are among them.
const manyChapters = 10 * time.Minute

// tlsEvery is how many seeds there are to one with TLS between members.
const tlsEvery = 4

// tick is ZooKeeper's, for sessions of 1 to 10 s.
const tick = 500 * time.Millisecond

// TestHistories is the proof of what a cluster promises when its members fail.
func TestHistories(t *testing.T) {
	t.Parallel()
	// The log is cut early: whoever was away for long gets the state, and not the log.
	s, whole, ticks := drawn(), *lasts || *duration >= manyChapters, tick
	if whole {
		ticks = 2 * tick // for sessions of up to 20 s
	}
	random, c := beginWith(t, s, ensemble.Options{
		Size: *size, Tick: ticks, Args: []string{"--snapshot-count", "500", "--snapshot-catchup-entries", "100"},
		PeerTLS: *peerTLS || s%tlsEvery == 0,
	})
	t.Logf("the members speak to each other by mutual TLS: %v", c.PeerTLS)
	f := newFaults(c, s)
	if whole {
		f.long, f.whole = longestFault, true
	}
	if *lasts {
		f.plan, *duration = slices.Clone(lasting), 0
	} else {
		f.shuffle()
	}
	for _, fault := range slices.Concat(f.plan, f.deck) {
		t.Logf("to come: %s", fault.name)
	}
	deadline := time.Now().Add(*duration)
	for i := 0; i == 0 || time.Now().Before(deadline); i++ {
		if judgeChapter(t, c, f, random, fmt.Sprintf("n%d", i), min(aChapter, time.Until(deadline))); t.Failed() {
			return
		}
	}
}

// judgeChapter has a load and faults, and fails the test if a promise was broken.
func judgeChapter(t *testing.T, c *ensemble.Cluster, f *faults, random *rand.Rand, name string, lasts time.Duration) {
	t.Helper()
	ctx := context.Background()
	part := newChapter(name, c, f)
	part.random = random
	defer part.close()
	judged(t, part, f, lasts, part.open(ctx))
}

// judged lives through a chapter, if its clients were opened without an error.
func judged(t *testing.T, part *chapter, f *faults, lasts time.Duration, err error) {
	t.Helper()
	ctx, c := context.Background(), part.cluster
	if err == nil {
		err = part.live(ctx, f, lasts, t.Logf)
	}
	broken := part.rec.Findings()
	if err == nil {
		broken = part.judge(ctx, c.Dir)
	}
	for _, text := range broken {
		t.Error(text)
	}
	require.NoError(t, err)
	answered := map[Outcome]int{}
	for _, o := range part.rec.Operations() {
		answered[o.Answer.Outcome]++
	}
	t.Logf("chapter %s: operations %v, %d dead clients", part.name, answered, len(part.graves))
	require.Greater(t, answered[Done], 200, "there was a load")
}

// drawn is the seed, drawn if none was given.
func drawn() uint64 {
	if *seed != 0 {
		return *seed
	}
	return rand.Uint64()
}

// begin starts a cluster of what TARGET names. Its directory is kept if the test fails.
func begin(t *testing.T, o ensemble.Options) (*rand.Rand, *ensemble.Cluster) {
	t.Helper()
	return beginWith(t, drawn(), o)
}

func beginWith(t *testing.T, s uint64, o ensemble.Options) (*rand.Rand, *ensemble.Cluster) {
	t.Helper()
	t.Logf("repeat the choices with -seed %d", s)
	kind, err := ensemble.KindFromEnv()
	require.NoError(t, err)
	o.Kind = kind
	root, err := server.Root()
	require.NoError(t, err)
	parent := filepath.Join(root, ".build", "cluster")
	require.NoError(t, os.MkdirAll(parent, 0o755))
	o.Dir, err = os.MkdirTemp(parent, fmt.Sprintf("%s-%d-", kind, s))
	require.NoError(t, err)
	c, err := ensemble.Start(context.Background(), o)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		if t.Failed() {
			t.Logf("seed %d; the members' logs and what was recorded are in %s", s, o.Dir)
			return
		}
		require.NoError(t, os.RemoveAll(o.Dir))
	})
	require.NoError(t, err)
	return rand.New(rand.NewPCG(s, 6)), c
}
