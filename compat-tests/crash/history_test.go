package crash

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

func TestHistories(t *testing.T) {
	random := newRandom(t)
	p := server.StartT(t, server.Options{Dir: t.TempDir(), Args: quickTicks})
	ctx := context.Background()
	recorder := NewRecorder(10, random.Uint64())
	for round := range *rounds {
		broken, err := recorder.Live(ctx, p.Endpoint(), 200+random.Int64N(1500), p.Kill)
		require.NoError(t, err)
		requireKept(t, broken, round)
		killAtStart(t, random, p)
		require.NoError(t, p.Restart(ctx), "round %d", round)
		recorder.Reborn()
	}
	requireLinearizable(t, recorder.History())
}

// requireLinearizable fails the test, and draws the history, if it is not
// linearizable.
func requireLinearizable(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	unknown := 0
	for _, o := range history {
		if o.Output.(answer).unknown {
			unknown++
		}
	}
	require.Zero(t, reused(history), "a revision was acknowledged for two writes")
	began := time.Now()
	result, info := porcupine.CheckOperationsVerbose(Model(), history, time.Minute)
	t.Logf("%d requests, %d without an answer, checked in %s", len(history), unknown, time.Since(began))
	if result == porcupine.Ok {
		return
	}
	file, err := os.CreateTemp("", "triglot-history-*.html") //nolint:usetesting // it is to be looked at after the test
	require.NoError(t, err)
	require.NoError(t, porcupine.Visualize(Model(), info, file))
	require.NoError(t, file.Close())
	t.Errorf("the history is not linearizable (%s); open %s", result, file.Name())
}

// A single changed answer in a real, long history must be found.
func TestARecordedHistoryIsRejectedWhenAnAnswerIsChanged(t *testing.T) {
	random := newRandom(t)
	p := server.StartT(t, server.Options{Dir: t.TempDir(), Args: quickTicks})
	ctx := context.Background()
	recorder := NewRecorder(6, random.Uint64())
	broken, err := recorder.Live(ctx, p.Endpoint(), 500, p.Kill)
	require.NoError(t, err)
	requireKept(t, broken, 0)
	recorder.Reborn()
	history := recorder.History()
	require.True(t, porcupine.CheckOperations(Model(), history))

	changed := 0
	for i := len(history) - 1; i >= 0 && changed < 5; i-- {
		a := history[i].Output.(answer)
		if a.unknown || len(a.read) == 0 || a.read[0].row.Value == "" {
			continue
		}
		other := a
		other.read = append([]readResult(nil), a.read...)
		other.read[0].row.ModRev-- // the get shows the version before, as a stale cache would
		history[i].Output = other
		require.False(t, porcupine.CheckOperations(Model(), history), "%v", history[i].Input)
		history[i].Output = a
		changed++
	}
	require.Equal(t, 5, changed)
}
