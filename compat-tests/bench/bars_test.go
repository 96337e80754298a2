package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// recorded is a record whose CPU, and whose rate, are these ratios in its pairs.
func recorded(c cell, cpu, rate float64) *record {
	r := &record{Cell: c, Peer: c.peer()}
	for range 3 {
		r.Pairs = append(r.Pairs, pair{Samples: map[string]sample{
			roleTriglot: {Ops: 1, CPU: 100 * cpu, Rate: 100 * rate, P50: 1, P99: 1},
			c.peer():    {Ops: 1, CPU: 100, Rate: 100, P50: 2, P99: 2},
			nullTuned:   {Ops: 1, CPU: 30, Rate: 1},
		}})
	}
	return r
}

func TestBarsAreJudged(t *testing.T) {
	records := map[string]*record{putCell.Name: recorded(putCell, 0.5, 1.4)}
	judged := func(f figure, limit float64, least bool, names ...string) state {
		return bar{Cells: names, Figure: f, Limit: limit, Least: least}.judge(records).State
	}
	require.Equal(t, met, judged(cpuRatio, 0.65, false, putCell.Name))
	require.Equal(t, met, judged(cpuRatio, 0.5, false, putCell.Name), "at most means at most")
	require.Equal(t, missed, judged(cpuRatio, 0.49, false, putCell.Name))
	require.Equal(t, met, judged(rateRatio, 1.3, true, putCell.Name))
	require.Equal(t, missed, judged(rateRatio, 1.5, true, putCell.Name))
	require.Equal(t, missed, judged(belowTransport, 15, false, putCell.Name))
	require.Equal(t, met, judged(belowTransport, 20, false, putCell.Name))
	require.Equal(t, unmeasured, judged(cpuRatio, 0.65, false, getCell.Name))
	records[getCell.Name] = recorded(getCell, 1, 1)
	require.Equal(t, unmeasured, judged(belowTransport, 15, false, getCell.Name), "without a null server")
}

func TestABarForSomeOfTheCells(t *testing.T) {
	cells := []cell{getCell, putCell, etcdCell("txn", 1, 1, 1), etcdCell("count", 1, 1, 1)}
	b := bar{Figure: rateRatio, Limit: 1.5, Least: true, In: 2}
	for _, c := range cells {
		b.Cells = append(b.Cells, c.Name)
	}
	for _, test := range []struct {
		rates []float64
		want  state
	}{
		{nil, unmeasured},
		{[]float64{1, 1}, unmeasured},
		{[]float64{1, 1, 1}, missed},
		{[]float64{1.6, 1.6}, met},
		{[]float64{1.6, 1, 1, 1.4}, missed},
		{[]float64{1.6, 1, 1, 1.5}, met},
	} {
		records := map[string]*record{}
		for i, rate := range test.rates {
			records[cells[i].Name] = recorded(cells[i], 1, rate)
		}
		require.Equal(t, test.want, b.judge(records).State, "%v", test.rates)
	}
}

// TestTables shows that the tables fit each other.
func TestTables(t *testing.T) {
	byName := map[string]cell{}
	for _, c := range cells {
		require.NotContains(t, byName, c.Name, "two cells of one name")
		byName[c.Name] = c
	}
	for _, b := range append(bars, shortBars...) {
		require.NotEmpty(t, b.Cells)
		for _, name := range b.Cells {
			require.Contains(t, byName, name)
			if b.Figure == belowTransport {
				require.NotEmpty(t, byName[name].Null, name)
			}
		}
	}
	require.Len(t, shortCells(), len(shortBars))
	for _, c := range cells {
		require.Positive(t, c.seconds, c.Name)
		require.Positive(t, c.Ops, c.Name)
		small := c.scaled(0.01)
		require.Equal(t, c.Name, small.Name)
		require.Equal(t, c, c.scaled(1))
		require.LessOrEqual(t, small.Keys, c.Keys)
		require.LessOrEqual(t, small.Ops, c.Ops)
		require.LessOrEqual(t, small.Behind, small.Keys+c.Behind, c.Name)
	}
	picked, err := pick(cells, "^three/")
	require.NoError(t, err)
	require.Len(t, picked, 4)
	_, err = pick(cells, "dance")
	require.ErrorContains(t, err, "dance")
	_, err = pick(cells, "(")
	require.Error(t, err)
}
