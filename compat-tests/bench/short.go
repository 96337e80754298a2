package main

import (
	"context"
	"fmt"
	"io"
)

// shortPairs is how many pairs the guard measures, and shortScale how much of each cell: with
// five cells it takes under three minutes.
const (
	shortPairs = 2
	shortScale = 0.6
)

// shortBars are the guard's: far enough from what was measured that two pairs tell, and near
// enough that a regression by half does not pass. On a machine with much else to do it was, in
// this order, 0.54, 0.36, 0.44, 0.49 and 0.06 (2026-11-23, two pairs); on a quiet one 0.47,
// 0.33, (not known), 0.45 and 0.26 (2026-11-22, with go-zookeeper as ZooKeeper's client).
var shortBars = []bar{
	{Source: "guard", Cells: []string{"etcd/put/1000"}, Figure: cpuRatio, Limit: 0.8},
	{Source: "guard", Cells: []string{"etcd/get/1000"}, Figure: cpuRatio, Limit: 0.6},
	{Source: "guard", Cells: []string{"etcd/watch-fanout/10"}, Figure: cpuRatio, Limit: 0.75},
	{Source: "guard", Cells: []string{"zookeeper/set/1000"}, Figure: cpuRatio, Limit: 0.75},
	{Source: "guard", Cells: []string{"zookeeper/get/1000"}, Figure: cpuRatio, Limit: 0.4},
}

// shortCells are the cells of the guard's bars, without null servers.
func shortCells() []cell {
	var list []cell
	for _, b := range shortBars {
		for _, c := range cells {
			if c.Name == b.Cells[0] {
				c.Null = ""
				list = append(list, c.scaled(shortScale))
			}
		}
	}
	return list
}

// missedError says that bars of the guard were missed.
type missedError int

func (e missedError) Error() string { return fmt.Sprintf("%d of the guard's bars are missed", int(e)) }

// guard says how the short bars stand. A bar that is missed while others kept the machine busy
// says nothing, and is no error.
func guard(w io.Writer, records map[string]*record) error {
	failed := 0
	for _, v := range judgeAll(shortBars, records) {
		r := records[v.Cells[0]]
		text := string(v.State)
		switch {
		case v.State == met:
		case r != nil && r.anyBusy():
			text = fmt.Sprintf("CANNOT TELL: others take %s of a core; the limit is %.0f %%", r.foreign(), 100*foreignLimit)
		default:
			failed++
		}
		fmt.Fprintf(w, "%-22s %s %s: %s: %s\n", v.Cells[0], v.Figure, v.limit(), v.measured(), text)
	}
	if failed > 0 {
		return missedError(failed)
	}
	return nil
}

func (r *record) anyBusy() bool {
	for _, p := range r.Pairs {
		if p.Busy {
			return true
		}
	}
	return false
}

// runShort measures the guard's cells, always anew, and judges them.
func runShort(ctx context.Context, r *runner, w io.Writer) error {
	r.pairs, r.tries, r.again = shortPairs, 1, true
	r.store.dir += "-short" // what took two pairs is no result
	records, err := r.run(ctx, shortCells())
	if err != nil {
		return err
	}
	return guard(w, records)
}
