package consensus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// instant is a state machine that does nothing and does it at once. It keeps a
// memLog short.
type instant struct{ log *memLog }

func (a instant) Apply(batch []Committed) error {
	for i := range batch {
		for _, p := range batch[i].Local {
			p.Complete(core.Result{}, nil)
		}
	}
	if last := batch[len(batch)-1].Index; last%256 == 0 {
		a.log.truncate(last - 1)
	}
	return nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPropose is the cost of a proposal of 256 bytes from Propose to the
// end of Wait, without a disk and without a state machine.
func BenchmarkPropose(b *testing.B) {
	for _, callers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			log := newMemLog(1)
			d, err := Start(Config{ID: 1, Log: log, Applied: 1, Applier: instant{log}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(b, err)
			command := make([]byte, 256)
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime()
			for range callers {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						p := NewProposal(command, time.Time{})
						if err := d.Propose(p); err != nil {
							b.Error(err)
							return
						}
						if _, err := p.Wait(context.Background()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(log.writes)/float64(b.N), "writes/op")
			b.StopTimer()
			require.NoError(b, d.Stop())
		})
	}
}
