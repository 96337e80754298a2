package consensus

import (
	"context"
	"fmt"
	"slices"
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

// countingLog counts the entries that are appended, and how long it took.
type countingLog struct {
	Log
	entries int
	took    atomic.Int64
}

func (l *countingLog) Append(hs *raftpb.HardState, entries []*raftpb.Entry, sync bool) error {
	l.entries += len(entries)
	begun := time.Now()
	defer func() { l.took.Add(int64(time.Since(begun))) }()
	return l.Log.Append(hs, entries, sync)
}

// lone is a proposal of a lone caller: it reports the median of the time that is not the
// log's, which a busy disk does not blur.
func lone(b *testing.B, d *Driver, log *countingLog) {
	b.Helper()
	command := make([]byte, 256)
	beside := make([]time.Duration, 0, b.N)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	before := cpuTime()
	for range b.N {
		begun, was := time.Now(), log.took.Load()
		p := NewProposal(command, time.Time{})
		require.NoError(b, d.Propose(p))
		_, err := p.Wait(ctx)
		require.NoError(b, err)
		beside = append(beside, time.Since(begun)-time.Duration(log.took.Load()-was))
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
	slices.Sort(beside)
	b.ReportMetric(float64(beside[len(beside)/2]), "beside-log-p50-ns")
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

// onDisk is a lone member's log on a disk, that of $TMPDIR.
func onDisk(b *testing.B) (log *raftlog.Log, truncate func(uint64)) {
	b.Helper()
	log, err := raftlog.Open(b.TempDir(), raftlog.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, log.Close()) })
	log.SetMembers([]core.MemberID{1}, nil)
	require.NoError(b, log.Reset(1, 1))
	return log, func(index uint64) { require.NoError(b, log.Truncate(index)) }
}

// BenchmarkDisk is consensus on a log on disk, as a caller meets it who waits for each
// proposal.
func BenchmarkDisk(b *testing.B) {
	log, truncate := onDisk(b)
	benchmark(b, 100, log, truncate, func() {})
}

// BenchmarkLone is BenchmarkDisk with one caller.
func BenchmarkLone(b *testing.B) {
	log, truncate := onDisk(b)
	counting := &countingLog{Log: log}
	d, err := Start(Config{ID: 1, Log: counting, Applied: 1, Applier: instant{truncate}, Logger: quiet()})
	require.NoError(b, err)
	b.ReportAllocs()
	b.ResetTimer()
	lone(b, d, counting)
	b.StopTimer()
	require.NoError(b, d.Stop())
}

// BenchmarkBatching shows how many proposals share an entry and its sync when a
// caller burns 20 us between two, as serving a request over gRPC does.
func BenchmarkBatching(b *testing.B) {
	for _, callers := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			log, truncate := onDisk(b)
			benchmark(b, callers, log, truncate, func() {
				for begun := time.Now(); time.Since(begun) < 20*time.Microsecond; {
				}
			})
		})
	}
}
