package crash

import (
	"context"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

var (
	rounds = flag.Int("rounds", 4, "how often to kill the server, in each test")
	seed   = flag.Uint64("seed", 0, "of the random choices; 0 draws one")
)

// quickTicks make a server that starts again elect itself in no time.
var quickTicks = []string{"--heartbeat-interval", "10", "--election-timeout", "100"}

// newRandom returns the test's source of choices, and logs how to repeat them.
func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat the choices with -seed %d", s)
	return rand.New(rand.NewPCG(s, 1))
}

func TestKillUnderLoad(t *testing.T) {
	random := newRandom(t)
	// The state is flushed and the log cut every thousand commands.
	p := server.StartT(t, server.Options{Dir: t.TempDir(), Args: append(quickTicks, "--snapshot-count", "1000")})
	ctx := context.Background()
	conn, err := dial(p.Endpoint())
	require.NoError(t, err)
	_, rev, err := rowsOf(ctx, conn, 0)
	require.NoError(t, err)
	require.NoError(t, conn.Close())

	ledger := NewLedger(rev)
	load := NewLoad(ledger, 12, 3, random.Uint64())
	for round := range *rounds {
		quota, maxBytes := 200+random.Int64N(2500), 400
		if round%4 == 1 { // enough to fill segments of the log, and to write tables
			quota, maxBytes = 600, 256<<10
		}
		remains, err := load.Live(ctx, p.Endpoint(), quota, maxBytes, p.Kill)
		require.NoError(t, err)
		kills := 1 + killAtStart(t, random, p)
		require.NoError(t, p.Restart(ctx), "round %d", round)
		requireKept(t, load.Audit(ctx, p.Endpoint(), remains), round)
		t.Logf("round %d: %d kills after %d writes, at revision %d", round, kills, len(remains.Writes), ledger.Settled())
	}
	requireKept(t, load.Replay(ctx, p.Endpoint()), *rounds)

	require.NoError(t, p.Terminate(), "an orderly stop")
	require.NoError(t, p.Restart(ctx))
	requireKept(t, load.Audit(ctx, p.Endpoint(), &Remains{Newest: ledger.Settled()}), *rounds)
	requireKept(t, load.Replay(ctx, p.Endpoint()), *rounds)

	writes := ledger.Writes()
	t.Logf("%d writes acknowledged, %d found done and %d not done though no answer came",
		writes[Acknowledged], writes[Unknown], writes[Absent])
	require.GreaterOrEqual(t, writes[Acknowledged], 200**rounds)
}

// killAtStart kills the server up to twice while it starts, before or after it is
// ready, in every other call on average; it returns how often.
func killAtStart(t *testing.T, random *rand.Rand, p *server.Process) int {
	t.Helper()
	kills := max(0, random.IntN(4)-1)
	for range kills {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+random.IntN(200))*time.Millisecond)
		err := p.Restart(ctx) // kills the server when ctx ends first
		cancel()
		if err != nil {
			require.NotContains(t, err.Error(), "ended at start", "it must have been us who killed it")
		}
		require.NoError(t, p.Kill())
	}
	return kills
}

// requireKept fails the test if a promise was broken.
func requireKept(t *testing.T, broken []error, round int) {
	t.Helper()
	const shown = 20
	for i, err := range broken {
		if i == shown {
			t.Errorf("and %d more", len(broken)-shown)
			break
		}
		t.Errorf("round %d: %v", round, err)
	}
	if len(broken) > 0 {
		t.FailNow()
	}
}
