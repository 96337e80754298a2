package crash

import (
	"context"
	"os"
	"slices"
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

	provable := provableReads(history)
	require.GreaterOrEqual(t, len(provable), 5)
	for _, i := range provable[len(provable)-5:] {
		a := history[i].Output.(answer)
		other := a
		other.read = slices.Clone(a.read)
		other.read[0].row.ModRev-- // the get shows the version before, as a stale cache would
		history[i].Output = other
		require.False(t, porcupine.CheckOperations(Model(), history), "%v", history[i].Input)
		history[i].Output = a
	}
}

// provableReads are the operations that begin with a get of a row whose write was acknowledged,
// so that the history has its revision twice. The revision of a write without an answer is known
// only from those who read it: if that is one, the history is as right with another revision.
func provableReads(history []porcupine.Operation) []int {
	acknowledged := map[string]bool{}
	for _, o := range history {
		a := o.Output.(answer)
		for _, step := range o.Input.(request).branch(a.taken) {
			if step.kind == stepPut && !a.unknown {
				acknowledged[step.value] = true
			}
		}
	}
	var found []int
	for i, o := range history {
		if a := o.Output.(answer); len(a.read) > 0 && acknowledged[a.read[0].row.Value] {
			found = append(found, i)
		}
	}
	return found
}

func TestOnlyAnAcknowledgedWriteProvesARevision(t *testing.T) {
	history := []porcupine.Operation{
		at(1, 2, putOf(0, "a"), rev(2)), at(3, 4, getOf(0), row(2, "a", 2)),
		at(5, 9, putOf(0, "b"), answerUnknown), at(6, 7, getOf(0), row(4, "b", 4)),
	}
	require.Equal(t, []int{1}, provableReads(history))
	history[3] = at(6, 7, getOf(0), row(4, "b", 3))
	require.True(t, porcupine.CheckOperations(Model(), history), "nobody else says which revision it was")
}
