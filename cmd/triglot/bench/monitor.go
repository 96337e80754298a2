package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/triglot/triglot/cmd/triglot/bench/measure"
	"github.com/triglot/triglot/cmd/triglot/bench/report"
)

const (
	// lookEvery is how often a monitor looks: it is the timeline's unit.
	lookEvery = time.Second
	// usualPatience is how long a server may leave everything unanswered. What takes longer
	// than an election, a start or a compaction is a server that hangs; a single call may, if
	// it reads many millions of keys, and --give-up is for those.
	usualPatience = 2 * time.Minute
)

var errStalled = errors.New("nothing was answered")

// monitor looks at a load once a second: for the timeline, for the person who waits, and
// for whether anything happens at all. It belongs to one goroutine.
type monitor struct {
	record   *measure.Recorder
	pids     []int
	progress io.Writer // nil for none
	timeline []report.Point

	began, last time.Time
	latencies   *measure.Histogram
	done        int64
	cpu         time.Duration
	active      time.Time // when something was last done
}

func newMonitor(record *measure.Recorder, pids []int, progress io.Writer, before []measure.Usage) *monitor {
	now := time.Now()
	return &monitor{
		record: record, pids: pids, progress: progress, began: now, last: now, active: now,
		latencies: record.Latencies(), cpu: cpuOf(before),
	}
}

func cpuOf(all []measure.Usage) (cpu time.Duration) {
	for i := range all {
		cpu += all[i].CPU()
	}
	return cpu
}

// run looks until the context ends, and once more then. What makes the load useless it
// reports to fail; so is a load of which nothing is answered for longer than patience.
func (m *monitor) run(ctx context.Context, patience time.Duration, fail func(error)) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			m.look(fail)
			return
		case <-ticker.C:
			m.look(fail)
			if time.Since(m.active) > patience {
				fail(fmt.Errorf("%w for %v: --give-up says how long to wait", errStalled, patience))
			}
		}
	}
}

// look adds a point to the timeline.
func (m *monitor) look(fail func(error)) {
	usages, err := measure.UsagesOf(m.pids)
	if err != nil {
		fail(err)
		return
	}
	now, latencies, done, cpu := time.Now(), m.record.Latencies(), m.record.Done(), cpuOf(usages)
	recent := latencies.Since(m.latencies)
	p := report.Point{
		Second: len(m.timeline) + 1, Ops: done - m.done, P99: float64(recent.Quantile(0.99)) / 1000,
		ServerCPU: (cpu - m.cpu).Seconds(), Length: now.Sub(m.last).Seconds(),
	}
	for i := range usages {
		p.ResidentBytes += usages[i].ResidentBytes
	}
	if p.Ops > 0 {
		m.active = now
	}
	m.timeline = append(m.timeline, p)
	m.last, m.latencies, m.done, m.cpu = now, latencies, done, cpu
	if m.progress != nil {
		m.say(&p)
	}
}

func (m *monitor) say(p *report.Point) {
	text := fmt.Sprintf("%4.0f s  %9d done  %8.0f a second  p99 %8.0f us", m.last.Sub(m.began).Seconds(), m.done, float64(p.Ops)/p.Length, p.P99)
	if failed := m.record.Failed(); failed > 0 {
		text += fmt.Sprintf("  %d errors", failed)
	}
	if len(m.pids) > 0 {
		text += fmt.Sprintf("  servers: %.2f cores, %d MiB", p.ServerCPU/p.Length, p.ResidentBytes>>20)
	}
	_, _ = io.WriteString(m.progress, text+"\n") // there is nobody else to tell
}
