package node

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/raftlog"
)

// The watermark, where Config.Limits.LowDiskBytes says nothing: a twentieth of the disk, but
// no more than lowDiskMost, and no less than the log needs to go on, if that is not
// more than half of the disk.
const (
	lowDiskMost  = 256 << 20
	lowDiskLeast = 2*raftlog.DefaultSegmentBytes + reserveBytes
	lowDiskShare = 20
)

// reserveBytes is the size of the file that is given up at the watermark, so that
// deletes and compactions have room.
const reserveBytes = 16 << 20

// lookBytes is how much is appended to the log between two looks at the disk, if that takes
// less than lookInterval: a small share of what the least watermark leaves, so that a load
// which fills a small disk in less than a second is refused before the disk is full. What
// the engine writes follows what the log has taken.
const lookBytes = reserveBytes / 16

// growth tells who watches the disk that the log has grown. add is for the goroutine that
// writes the log; it never waits.
type growth struct {
	unseen atomic.Int64
	grown  chan struct{} // capacity 1
}

func newGrowth() *growth { return &growth{grown: make(chan struct{}, 1)} }

func (g *growth) add(bytes int) {
	if g.unseen.Add(int64(bytes)) >= lookBytes {
		g.unseen.Store(0)
		signal(g.grown)
	}
}

// lowDisk raises the NOSPACE alarm when the disk is nearly full, and clears it when
// there is room again (design.md 9). It belongs to one goroutine, of watch.
//
// The reserve file is empty while the alarm stands for the sake of the disk: so it is
// known at the next start, too, that it does.
type lowDisk struct {
	n       *Node
	reserve string
	// low says that the watermark was crossed, and not crossed back; own that the
	// alarm was raised for it, and not by the quota before.
	low, own bool
}

func newLowDisk(n *Node) *lowDisk {
	return &lowDisk{n: n, reserve: n.disk.dir.join(reserveName)}
}

// watch looks at the disk until ctx ends, or at once gives up where a file system does
// not tell.
func (l *lowDisk) watch(ctx context.Context) {
	if l.n.cfg.Limits.LowDiskBytes < 0 {
		return
	}
	if f, err := l.n.cfg.FS.Stat(l.reserve); err == nil && f.Size() == 0 {
		l.low, l.own = true, true
	}
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		grown := l.n.disk.growth.grown
		if err := l.look(ctx); err != nil && ctx.Err() == nil {
			if errors.Is(err, storage.ErrUnsupported) {
				return
			}
			l.n.cfg.Logger.Warn("the room on the disk is watched, but something failed; it is tried again", "error", err)
			grown = nil // a warning a second, not one for each MiB that is written
		}
		select {
		case <-tick.C:
		case <-grown:
		case <-ctx.Done():
			return
		}
	}
}

// look compares the room on the disk with the watermark. Between the watermark and one
// and a half of it nothing changes.
func (l *lowDisk) look(ctx context.Context) error {
	room, mark, err := l.tightest()
	if err != nil {
		return err
	}
	switch {
	case room < mark:
		return l.crossed(ctx, room, mark)
	case room >= mark+mark/2:
		return l.crossedBack(ctx, room)
	}
	return nil
}

// tightest returns the room and the watermark of the disk that has less, measured by
// its watermark: that of the state, or that of the log if it has one of its own.
func (l *lowDisk) tightest() (room, mark uint64, err error) {
	dirs := []string{l.n.cfg.DataDir}
	if l.n.cfg.WAL.Dir != "" {
		dirs = append(dirs, l.n.cfg.WAL.Dir)
	}
	for i, dir := range dirs {
		disk, err := l.n.cfg.FS.GetDiskUsage(dir)
		if err != nil {
			return 0, 0, err
		}
		at := l.watermark(disk.TotalBytes)
		if i == 0 || float64(disk.AvailBytes)*float64(mark) < float64(room)*float64(at) {
			room, mark = disk.AvailBytes, at
		}
	}
	return room, mark, nil
}

func (l *lowDisk) watermark(total uint64) uint64 {
	if l.n.cfg.Limits.LowDiskBytes > 0 {
		return uint64(l.n.cfg.Limits.LowDiskBytes)
	}
	return min(lowDiskMost, max(lowDiskLeast, total/lowDiskShare), total/2)
}

// crossed gives up the reserve and sees to it that the alarm stands, as somebody may
// have cleared it by hand.
func (l *lowDisk) crossed(ctx context.Context, room, mark uint64) error {
	alarm := core.Alarm{Member: l.n.disk.id.member, Type: core.AlarmNoSpace}
	if l.low && slices.Contains(l.n.Status().Alarms, alarm) {
		return nil
	}
	if err := l.fill(""); err != nil {
		return err
	}
	res, err := l.n.do(ctx, &core.SetAlarm{Alarm: alarm, On: true})
	if err != nil {
		return err
	}
	l.low, l.own = true, l.own || res.Outcome != core.AlarmOutcome{Stood: true}
	l.n.cfg.Logger.Warn("the disk is nearly full: the NOSPACE alarm was raised, until there is room",
		"free_bytes", room, "watermark_bytes", mark)
	return nil
}

// crossedBack clears the alarm, if it was raised for the disk, and makes the reserve.
func (l *lowDisk) crossedBack(ctx context.Context, room uint64) error {
	if l.own {
		alarm := core.Alarm{Member: l.n.disk.id.member, Type: core.AlarmNoSpace}
		if _, err := l.n.do(ctx, &core.SetAlarm{Alarm: alarm}); err != nil {
			return err
		}
		l.n.cfg.Logger.Info("there is room on the disk again: the NOSPACE alarm was cleared", "free_bytes", room)
	}
	l.low, l.own = false, false
	if f, err := l.n.cfg.FS.Stat(l.reserve); err == nil && f.Size() > 0 {
		return nil
	}
	return l.fill(reserveText)
}

// reserveText is what a reserve holds besides room.
const reserveText = "This file keeps room for deletes when the disk is full.\n"

// fill makes the reserve anew: empty, or with the text and, where the file system can
// give room to a file without it being written, that.
func (l *lowDisk) fill(text string) error {
	f, err := l.n.cfg.FS.Create(l.reserve, reserveCategory)
	if err != nil {
		return err
	}
	if text != "" {
		if _, err = f.Write([]byte(text)); err == nil {
			if err := f.Preallocate(0, reserveBytes); err != nil {
				l.n.cfg.Logger.Debug("the file system keeps no reserve", "error", err)
			}
		}
	}
	return errors.Join(err, f.Close())
}
