package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// shortPairs is how many pairs the guard measures, shortScale how much of each cell, and shortWarm
// how long ZooKeeper is loaded before: with five cells it takes under three minutes. Of three
// pairs the median leaves out the one into which a flush falls that was put off.
const (
	shortPairs = 3
	shortScale = 0.6
	shortWarm  = 15 * time.Second
)

// shortBars are the guard's: about 1.4 times the medians of seven pairs of 2026-11-23, which were,
// in this order, 0.44, 0.30, 0.39, 0.34 and 0.09, so that a regression by half does not pass. The
// last is twice that: so little CPU time is few ticks, and with less work in a run it was up to 0.12.
var shortBars = []bar{
	{Source: "guard", Cells: []string{"etcd/put/1000"}, Figure: cpuRatio, Limit: 0.62},
	{Source: "guard", Cells: []string{"etcd/get/1000"}, Figure: cpuRatio, Limit: 0.42},
	{Source: "guard", Cells: []string{"etcd/watch-fanout/10"}, Figure: cpuRatio, Limit: 0.55},
	{Source: "guard", Cells: []string{"zookeeper/set/1000"}, Figure: cpuRatio, Limit: 0.5},
	{Source: "guard", Cells: []string{"zookeeper/get/1000"}, Figure: cpuRatio, Limit: 0.2},
}

// shortCells are the cells of the guard's bars, without null servers.
func shortCells() []cell {
	var list []cell
	for _, b := range shortBars {
		for _, c := range cells {
			if c.Name == b.Cells[0] {
				c.Null = ""
				c = c.scaled(shortScale)
				c.Warm = min(c.Warm, shortWarm)
				list = append(list, c)
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
	r.store.dir += "-short" // what took so few pairs is no result
	records, err := r.run(ctx, shortCells())
	if err != nil {
		return err
	}
	return guard(w, records)
}
