package node

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// diskRig is a member on a disk of 10 GiB of which a test says how much is free.
type diskRig struct {
	*testing.T
	cfg Config
	fs  *storage.MemFS
	n   *Node
}

// use leaves so much free, of which nobody is told.
func (r *diskRig) use(mib uint64) {
	r.fs.TestingSetDiskUsage(storage.DiskUsage{AvailBytes: mib << 20, TotalBytes: 10 << 30, UsedBytes: 10<<30 - mib<<20})
}

// free leaves so much free, and waits until it was looked at.
func (r *diskRig) free(mib uint64) {
	r.use(mib)
	<-time.After(2 * lookInterval)
	synctest.Wait()
}

func (r *diskRig) reserve() int64 {
	f, err := r.fs.Stat("data/reserve")
	require.NoError(r, err)
	return f.Size()
}

func (r *diskRig) put() error {
	_, err := r.n.Do(testContext(r), core.Principal{}, &core.Put{Key: []byte("k"), Value: []byte("v")})
	return err
}

func (r *diskRig) start() {
	r.n = startNode(r, r.cfg)
	require.NoError(r, r.n.Ready(testContext(r)))
	synctest.Wait() // it has looked at the disk
}

func onDisk(t *testing.T, f func(r *diskRig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &diskRig{T: t, cfg: testConfig(t)}
		r.fs = r.cfg.FS.(*storage.MemFS)
		r.fs.TestingSetDiskUsage(storage.DiskUsage{AvailBytes: 5 << 30, TotalBytes: 10 << 30, UsedBytes: 5 << 30})
		r.start()
		f(r)
		stopNode(t, r.n)
	})
}

// TestLowDisk crosses the watermark and comes back, over a restart: the alarm comes
// and goes, and deletes are let through.
func TestLowDisk(t *testing.T) {
	onDisk(t, func(r *diskRig) {
		r.free(256)
		require.EqualValues(r, len(reserveText), r.reserve())
		require.NoError(r, r.put())
		r.free(255)
		require.Zero(r, r.reserve())
		require.ErrorIs(r, r.put(), core.NoSpace)
		_, err := r.n.Do(testContext(r), core.Principal{}, &core.DeleteRange{Interval: core.Interval{Key: []byte("k")}})
		require.NoError(r, err)
		r.free(300)
		require.ErrorIs(r, r.put(), core.NoSpace, "not yet")

		stopNode(r, r.n)
		r.start()
		r.free(300)
		require.ErrorIs(r, r.put(), core.NoSpace)
		r.free(384)
		require.NoError(r, r.put())
		require.EqualValues(r, len(reserveText), r.reserve())
		require.Empty(r, r.n.Status().Alarms)
	})
}

// TestLowDiskFilledAtOnce: what fills a disk in less than lookInterval is refused, too.
func TestLowDiskFilledAtOnce(t *testing.T) {
	onDisk(t, func(r *diskRig) {
		r.free(256)
		r.use(255)
		began := time.Now()
		value := make([]byte, 256<<10)
		for range 2 * lookBytes / len(value) {
			_, err := r.n.Do(testContext(r), core.Principal{}, &core.Put{Key: []byte("k"), Value: value})
			if err != nil {
				require.ErrorIs(r, err, core.NoSpace)
				break
			}
		}
		synctest.Wait()
		require.ErrorIs(r, r.put(), core.NoSpace)
		require.Less(r, time.Since(began), lookInterval/2)
	})
}

// blindFS does not tell the member the room on the disk once it is blind; the engine, which
// asks of its own folder, is told.
type blindFS struct {
	storage.FS
	blind atomic.Bool
}

func (fs *blindFS) GetDiskUsage(path string) (storage.DiskUsage, error) {
	if !fs.blind.Load() || path != "data" {
		return fs.FS.GetDiskUsage(path)
	}
	return storage.DiskUsage{}, errors.New("no answer")
}

// What fails, and is logged, is tried again after a while, however fast the disk fills.
func TestLowDiskIsNotLookedAtAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t)
		cfg.FS.(*storage.MemFS).TestingSetDiskUsage(storage.DiskUsage{AvailBytes: 5 << 30, TotalBytes: 10 << 30, UsedBytes: 5 << 30})
		fs := &blindFS{FS: cfg.FS}
		var log syncBuffer
		cfg.FS, cfg.Logger = fs, slog.New(slog.NewTextHandler(&log, nil))
		n := startNode(t, cfg)
		require.NoError(t, n.Ready(testContext(t)))
		synctest.Wait()
		fs.blind.Store(true)
		began, value := time.Now(), make([]byte, lookBytes/2)
		for range 20 {
			_, err := n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte("k"), Value: value})
			require.NoError(t, err)
		}
		synctest.Wait()
		warnings := strings.Count(log.String(), "room on the disk")
		require.NotZero(t, warnings)
		require.LessOrEqual(t, warnings, 2+int(time.Since(began)/lookInterval))
		stopNode(t, n)
	})
}

// Who clears the alarm by hand while the disk is nearly full has it back.
func TestLowDiskAlarmClearedByHand(t *testing.T) {
	onDisk(t, func(r *diskRig) {
		r.free(10)
		alarm := core.Alarm{Member: r.n.Self().Member, Type: core.AlarmNoSpace}
		require.Equal(r, []core.Alarm{alarm}, r.n.Status().Alarms)
		_, err := r.n.Do(testContext(r), core.Principal{}, &core.SetAlarm{Alarm: alarm})
		require.NoError(r, err)
		r.free(10)
		require.Equal(r, []core.Alarm{alarm}, r.n.Status().Alarms)
		r.free(1000)
		require.Empty(r, r.n.Status().Alarms)
	})
}

// An alarm that stood before is the quota's, and stays until it is cleared (T-73).
func TestLowDiskLeavesTheQuotasAlarm(t *testing.T) {
	onDisk(t, func(r *diskRig) {
		alarm := core.Alarm{Member: r.n.Self().Member, Type: core.AlarmNoSpace}
		_, err := r.n.Do(testContext(r), core.Principal{}, &core.SetAlarm{Alarm: alarm, On: true})
		require.NoError(r, err)
		r.free(10)
		r.free(1000)
		require.Equal(r, []core.Alarm{alarm}, r.n.Status().Alarms)
	})
}

func TestLowDiskOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &diskRig{T: t, cfg: testConfig(t)}
		r.cfg.Limits.LowDiskBytes = -1
		r.fs = r.cfg.FS.(*storage.MemFS)
		r.start()
		r.free(1)
		require.NoError(t, r.put())
		stopNode(t, r.n)
	})
}

// logDisk is a file system whose log is on a disk of its own, of 1 GiB.
type logDisk struct {
	storage.FS
	free atomic.Uint64
}

func (d *logDisk) GetDiskUsage(path string) (storage.DiskUsage, error) {
	if path != "wal" {
		return d.FS.GetDiskUsage(path)
	}
	return storage.DiskUsage{AvailBytes: d.free.Load(), TotalBytes: 1 << 30}, nil
}

// TestLowDiskOfTheLog: a member needs room for its log as well.
func TestLowDiskOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &diskRig{T: t, cfg: testConfig(t)}
		r.fs = r.cfg.FS.(*storage.MemFS)
		disk := &logDisk{FS: r.fs}
		disk.free.Store(1 << 30)
		r.cfg.FS, r.cfg.WAL.Dir = disk, "wal"
		r.fs.TestingSetDiskUsage(storage.DiskUsage{AvailBytes: 5 << 30, TotalBytes: 10 << 30, UsedBytes: 5 << 30})
		r.start()
		r.free(1000)
		require.NoError(t, r.put())
		disk.free.Store(10 << 20)
		r.free(1000)
		require.ErrorIs(t, r.put(), core.NoSpace)
		disk.free.Store(100 << 20)
		r.free(1000)
		require.NoError(t, r.put())
		r.free(10)
		require.ErrorIs(t, r.put(), core.NoSpace)
		stopNode(t, r.n)
	})
}

// TestWatermark: however small the disk, the log can go on for a while after the alarm.
func TestWatermark(t *testing.T) {
	l := &lowDisk{n: new(Node)}
	for totalMiB, want := range map[uint64]uint64{64: 32, 200: 48, 2000: 100, 10_000: 256, 1_000_000: 256} {
		require.Equal(t, want<<20, l.watermark(totalMiB<<20), "of a disk of %d MiB", totalMiB)
	}
	l.n.cfg.Limits.LowDiskBytes = 5
	require.EqualValues(t, 5, l.watermark(1<<40))
}
