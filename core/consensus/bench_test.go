package consensus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/raftlog"
)

// instant is a state machine that does nothing, at once, and keeps the log short.
type instant struct{ truncate func(index uint64) }

func (instant) Install(Installed) error { panic("nothing is installed here") }

func (a instant) Apply(batch []Committed) error {
	for i := range batch {
		for _, p := range batch[i].Local {
			p.Complete(core.Result{}, nil)
		}
	}
	if last := batch[len(batch)-1].Index; last%256 == 0 {
		a.truncate(last - 1)
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

// countingLog counts the entries that are appended.
type countingLog struct {
	Log
	entries int
}

func (l *countingLog) Append(hs *raftpb.HardState, entries []*raftpb.Entry, sync bool) error {
	l.entries += len(entries)
	return l.Log.Append(hs, entries, sync)
}

// benchmark measures a proposal of 256 bytes from Propose to the end of Wait.
// between is what a caller does before the next one.
func benchmark(b *testing.B, callers int, log Log, truncate func(uint64), between func()) {
	b.Helper()
	counting := &countingLog{Log: log}
	d, err := Start(Config{ID: 1, Log: counting, Applied: 1, Applier: instant{truncate}, Logger: quiet()})
	require.NoError(b, err)
	drive(b, d, callers, between)
	require.NoError(b, d.Stop())
	b.ReportMetric(float64(b.N)/float64(counting.entries), "ops/entry")
}

// drive has a number of callers propose b.N times in all.
func drive(b *testing.B, d *Driver, callers int, between func()) {
	b.Helper()
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
				between()
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkForward is the cost of consensus alone in a cluster of three whose network
// takes no time, proposed to a follower: no disk, no state machine, no encoding.
func BenchmarkForward(b *testing.B) {
	for _, callers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			var drivers [4]*Driver
			var ready sync.WaitGroup
			ready.Add(1)
			send := func(messages []*Message) {
				ready.Wait()
				for _, m := range messages {
					drivers[m.GetTo()].Receive(m)
				}
			}
			for id := core.MemberID(1); id <= 3; id++ {
				log := newMemLog(1, 2, 3)
				var err error
				drivers[id], err = Start(Config{ID: id, Log: log, Applied: 1, Applier: instant{log.truncate}, Send: send, Logger: quiet()})
				require.NoError(b, err)
			}
			ready.Done()
			var leader core.MemberID
			require.Eventually(b, func() bool {
				leader, _, _, _ = drivers[1].Status()
				return leader != 0
			}, 10*time.Second, time.Millisecond)
			drive(b, drivers[leader%3+1], callers, func() {})
			for _, d := range drivers[1:] {
				require.NoError(b, d.Stop())
			}
		})
	}
}

// BenchmarkPropose is the cost of consensus alone: no disk, no state machine.
func BenchmarkPropose(b *testing.B) {
	for _, callers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			log := newMemLog(1)
			benchmark(b, callers, log, log.truncate, func() {})
		})
	}
}

// BenchmarkBatching shows how many proposals share an entry and its sync when a
// caller burns 20 us between two, as serving a request over gRPC does.
func BenchmarkBatching(b *testing.B) {
	for _, callers := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			log, err := raftlog.Open(b.TempDir(), raftlog.Options{})
			require.NoError(b, err)
			log.SetMembers([]core.MemberID{1}, nil)
			require.NoError(b, log.Reset(1, 1))
			benchmark(b, callers, log, func(index uint64) { require.NoError(b, log.Truncate(index)) }, func() {
				for begun := time.Now(); time.Since(begun) < 20*time.Microsecond; {
				}
			})
			require.NoError(b, log.Close())
		})
	}
}
