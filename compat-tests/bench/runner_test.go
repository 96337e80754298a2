package main

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	putCell = etcdCell("put", 1000, 100, 1).beside(nullTuned)
	getCell = etcdCell("get", 1, 100, 1)
)

func TestServersAreInterleaved(t *testing.T) {
	f := newFakeBench(t)
	records := f.measured(t, putCell)
	require.Equal(t, []string{
		"triglot 1", "etcd 1", "null-tuned 1",
		"null-tuned 2", "etcd 2", "triglot 2",
		"triglot 3", "etcd 3", "null-tuned 3",
	}, f.asked, "A B C C B A ..., with one seed for a pair")
	require.Len(t, records[putCell.Name].Pairs, 3)
	require.Equal(t, 1, f.closed)

	f = newFakeBench(t)
	f.measured(t, getCell)
	require.Equal(t, []string{"triglot 1", "etcd 1", "etcd 2", "triglot 2", "triglot 3", "etcd 3"}, f.asked, "A B B A")
}

func TestAStoppedRunGoesOn(t *testing.T) {
	f := newFakeBench(t)
	ctx, stop := context.WithCancel(t.Context())
	usual := f.answer
	f.answer = func(c cell, role string, seed int) (sample, error) {
		if c.Name == getCell.Name {
			stop() // in the midst of the second cell
			return sample{}, ctx.Err()
		}
		return usual(c, role, seed)
	}
	records, err := f.run(ctx, []cell{putCell, getCell, etcdCell("txn", 1, 1, 1)})
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, records, 1)
	require.Equal(t, []string{"etcd/put/1000", "etcd/get/1"}, f.opened)

	f.answer, f.opened = usual, nil
	again := f.measured(t, putCell, getCell)
	require.Equal(t, []string{"etcd/get/1"}, f.opened, "what is finished is not measured again")
	require.Equal(t, records[putCell.Name].Pairs, again[putCell.Name].Pairs)

	f.opened = nil
	f.measured(t, putCell, getCell)
	require.Empty(t, f.opened)
	left, err := f.forecast([]cell{putCell, getCell})
	require.NoError(t, err)
	require.Zero(t, left)

	f.again = true
	f.measured(t, putCell, getCell)
	require.Len(t, f.opened, 2, "-again means it")
}

func TestWhatIsKeptIsForOneBinaryAndOneDefinition(t *testing.T) {
	f := newFakeBench(t)
	f.measured(t, putCell)
	measures := func(want bool, why string, change func(f *fakeBench, c *cell)) {
		t.Helper()
		other, c := *f.runner, putCell
		g := &fakeBench{runner: &other, answer: f.answer}
		change(g, &c)
		done, err := g.finished(c)
		require.NoError(t, err)
		require.Equal(t, want, done == nil, why)
	}
	measures(false, "nothing has changed", func(*fakeBench, *cell) {})
	measures(false, "fewer pairs are enough", func(f *fakeBench, _ *cell) { f.pairs = 1 })
	measures(false, "the forecast is no part of it", func(_ *fakeBench, c *cell) { c.seconds = 99 })
	measures(true, "another build", func(f *fakeBench, _ *cell) { f.ids.Triglot = "def" })
	measures(true, "another client", func(f *fakeBench, _ *cell) { f.ids.Client = "def" })
	measures(true, "another null server", func(f *fakeBench, _ *cell) { f.ids.Bench = "def" })
	measures(false, "ZooKeeper's Java", func(f *fakeBench, _ *cell) { f.ids.Java = "21" })
	measures(true, "another etcd", func(f *fakeBench, _ *cell) { f.ids.Peers = map[string]string{roleEtcd: "3.8"} })
	measures(true, "more work", func(_ *fakeBench, c *cell) { c.Ops++ })
	measures(true, "other flags", func(_ *fakeBench, c *cell) { c.Flags = []string{"--limit", "1"} })
	measures(true, "another peer", func(f *fakeBench, _ *cell) { f.against = roleAgainst })
	measures(true, "more pairs", func(f *fakeBench, _ *cell) { f.pairs = 4 })
}

func TestBusyPairsAreMeasuredAgain(t *testing.T) {
	f := newFakeBench(t)
	f.pairs = 2
	loads := []float64{
		0.01, 0.9, // pair 1: others come while the second is measured
		0.02, 0.03, // again: quiet
		0.5, 0.1, 0.1, 0.4, 0.6, 0.1, // pair 2 stays busy; the second try is the quietest
	}
	usual := f.answer
	f.answer = func(c cell, role string, seed int) (sample, error) {
		s, err := usual(c, role, seed)
		s.Foreign = loads[0]
		loads = loads[1:]
		return s, err
	}
	pairs := f.measured(t, getCell)[getCell.Name].Pairs
	require.Empty(t, loads)
	require.Equal(t, 2, pairs[0].Tries)
	require.False(t, pairs[0].Busy)
	require.InDelta(t, 0.03, pairs[0].foreign(), 1e-9)
	require.Equal(t, 3, pairs[1].Tries, "bounded")
	require.True(t, pairs[1].Busy, "and marked")
	require.InDelta(t, 0.4, pairs[1].foreign(), 1e-9)
}

func TestACellThatFailsDoesNotStopTheOthers(t *testing.T) {
	f := newFakeBench(t)
	usual := f.answer
	f.answer = func(c cell, role string, seed int) (sample, error) {
		if c.Name == putCell.Name && role == roleEtcd {
			return sample{}, errBroken
		}
		return usual(c, role, seed)
	}
	records, err := f.run(t.Context(), []cell{putCell, getCell})
	require.ErrorIs(t, err, errBroken)
	require.ErrorContains(t, err, "etcd/put/1000: etcd")
	require.Len(t, records, 1)
	require.Equal(t, 2, f.closed, "its servers are ended")

	f.answer, f.opened = usual, nil
	f.measured(t, putCell, getCell)
	require.Equal(t, []string{putCell.Name}, f.opened, "it is tried again")
}

func TestAServerThatDoesNotEndWellTakesNothingAway(t *testing.T) {
	f := newFakeBench(t)
	f.failed = errBroken
	records, err := f.run(t.Context(), []cell{putCell, getCell})
	require.ErrorIs(t, err, errBroken, "it is said")
	require.Len(t, records, 2)
	require.Equal(t, 2, f.closed)
	kept, err := f.finished(putCell)
	require.NoError(t, err)
	require.NotNil(t, kept, "and what was measured is kept")
}

func TestFewerPairsReplaceNothing(t *testing.T) {
	f := newFakeBench(t)
	f.measured(t, putCell)
	f.again, f.pairs = true, 2
	require.Len(t, f.measured(t, putCell)[putCell.Name].Pairs, 2)
	f.pairs = 1
	kept, err := f.finished(putCell)
	require.NoError(t, err)
	require.Len(t, kept.Pairs, 3)
}

func TestAnotherBuildTakesThePeersPlace(t *testing.T) {
	f := newFakeBench(t)
	f.against, f.pairs = roleAgainst, 1
	records := f.measured(t, getCell)
	require.Equal(t, []string{"triglot 1", "triglot-2 1"}, f.asked)
	require.Equal(t, roleAgainst, records[getCell.Name].Peer)
}

func TestGuard(t *testing.T) {
	f := newFakeBench(t)
	cpu, foreign := 10.0, 0.0
	f.answer = func(_ cell, role string, _ int) (sample, error) {
		s := sample{Ops: 1, CPU: 100, Rate: 1, Foreign: foreign}
		if role == roleTriglot {
			s.CPU = cpu
		}
		return s, nil
	}
	var out bufferOf
	require.NoError(t, runShort(t.Context(), f.runner, &out))
	require.Len(t, f.opened, 5)
	require.Contains(t, out.take(), "etcd/put/1000")

	cpu = 45 // of a hundred: two of the bars are nearer
	var missed missedError
	require.ErrorAs(t, runShort(t.Context(), f.runner, &out), &missed)
	require.Equal(t, missedError(2), missed)
	require.Len(t, f.opened, 10, "it measures anew each time")
	out.take()

	foreign = 1.3
	require.NoError(t, runShort(t.Context(), f.runner, &out), "a busy machine is no failure")
	require.Contains(t, out.take(), "CANNOT TELL: others take 130 %")
}

// TestTheGuardGuards holds records at 1.5 times of what the guard's limits come from against them;
// that of getData, which takes so little that it has more room, at 2.5 times.
func TestTheGuardGuards(t *testing.T) {
	for _, test := range []struct {
		cell           string
		usual, regress float64
	}{
		{"etcd/put/1000", 0.44, 1.5},
		{"etcd/get/1000", 0.30, 1.5},
		{"etcd/watch-fanout/10", 0.39, 1.5},
		{"zookeeper/set/1000", 0.34, 1.5},
		{"zookeeper/get/1000", 0.09, 2.5},
	} {
		i := slices.IndexFunc(shortBars, func(b bar) bool { return b.Cells[0] == test.cell })
		c := shortCells()[i]
		require.Equal(t, test.cell, c.Name)
		stands := func(ratio float64) state {
			return shortBars[i].judge(map[string]*record{test.cell: recorded(c, ratio, 1)}).State
		}
		require.Equal(t, met, stands(test.usual), test.cell)
		require.Equal(t, missed, stands(test.usual*test.regress), test.cell)
		require.LessOrEqual(t, c.Warm, shortWarm)
	}
}

type bufferOf struct{ text string }

func (b *bufferOf) Write(p []byte) (int, error) {
	b.text += string(p)
	return len(p), nil
}

func (b *bufferOf) take() string {
	text := b.text
	b.text = ""
	return text
}
