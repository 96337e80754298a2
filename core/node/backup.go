package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/backup"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/mvcc"
)

// backups bounds what backups and hashes take of the member. The zero value is ready
// after init.
type backups struct {
	// slots are for snapshots until they have been read, making for the one that is
	// being written, hashing for the one hash that is being taken.
	slots, making, hashing semaphore
}

// maxSnapshots bounds the snapshots that are made, wait, or are being read: each may
// be as large as the store.
const maxSnapshots = 4

// The parts of the time in which a hash and a snapshot are at work: both can wait, and
// others cannot. But a snapshot keeps old data on the disk while it is made.
const (
	hashShare     = 0.5
	snapshotShare = 0.5
	// busySnapshotShare is that of a snapshot while writes come. A hash keeps its own:
	// etcdctl waits for it for five seconds.
	busySnapshotShare = 0.15
)

// semaphore has room for as many as its capacity.
type semaphore chan struct{}

func (s semaphore) release() { <-s }

func (b *backups) init() {
	b.slots = make(semaphore, maxSnapshots)
	b.making, b.hashing = make(semaphore, 1), make(semaphore, 1)
}

// acquire waits for room. It fails with Stopped, or when ctx ends.
func (n *Node) acquire(ctx context.Context, s semaphore) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-n.stopping:
		return core.Stopped
	case <-ctx.Done():
		return core.ContextError(ctx.Err())
	}
}

// Defragment implements core.Maintenance.
func (n *Node) Defragment(ctx context.Context, who core.Principal) error {
	if err := n.requireRoot(ctx, who); err != nil {
		return err
	}
	n.cfg.Logger.Info("finished defragmenting: there was nothing to do, the engine gives space back by itself")
	return nil
}

// Hash implements core.Maintenance.
func (n *Node) Hash(ctx context.Context, who core.Principal) (uint32, core.Rev, error) {
	var sum uint64
	var rev core.Rev
	err := n.hash(ctx, who, func(v *state.View, pace mvcc.Pace) (err error) {
		rev = v.Rev()
		sum, err = v.Hash(pace)
		return err
	})
	return fold(sum), rev, err
}

// HashKV implements core.Maintenance. What a compaction to rev removes is not in it:
// it is of the versions that a read at rev shows.
func (n *Node) HashKV(ctx context.Context, who core.Principal, rev core.Rev) (core.KVHash, error) {
	var sum uint64
	var out core.KVHash
	err := n.hash(ctx, who, func(v *state.View, pace mvcc.Pace) (err error) {
		out = core.KVHash{CompactRev: v.CompactRev(), Rev: rev, Current: v.Rev()}
		switch {
		case rev < 0:
			return nil // nothing was written by then, as etcd has it
		case rev == 0:
			out.Rev = out.Current
		case rev < out.CompactRev:
			return core.Compacted
		case rev > out.Current:
			return core.FutureRev
		}
		sum, err = v.HashAt(pace, out.Rev)
		return err
	})
	out.Hash = fold(sum)
	return out, err
}

// hash runs one hash at a time, on the latest view.
func (n *Node) hash(ctx context.Context, who core.Principal, run func(*state.View, mvcc.Pace) error) error {
	if err := n.requireRoot(ctx, who); err != nil {
		return err
	}
	if err := n.acquire(ctx, n.upkeep.backups.hashing); err != nil {
		return err
	}
	defer n.upkeep.backups.hashing.release()
	v := n.published.hold()
	if v == nil {
		return core.Stopped
	}
	defer v.Close()
	if err := v.MaySeeAll(who); err != nil {
		return err
	}
	return run(v, n.pace(ctx, hashShare, hashShare))
}

// fold makes 32 bits of a sum.
func fold(sum uint64) uint32 { return uint32(sum>>32) ^ uint32(sum) }

// Snapshot implements core.Maintenance.
func (n *Node) Snapshot(ctx context.Context, who core.Principal) (core.Snapshot, error) {
	if err := n.requireRoot(ctx, who); err != nil {
		return core.Snapshot{}, err
	}
	select {
	case n.upkeep.backups.slots <- struct{}{}:
	default:
		return core.Snapshot{}, core.TooManyRequests
	}
	s, err := n.snapshot(ctx, who)
	if err != nil {
		n.upkeep.backups.slots.release()
		return core.Snapshot{}, err
	}
	return s, nil
}

// snapshot makes a snapshot in a slot, which its body gives up.
func (n *Node) snapshot(ctx context.Context, who core.Principal) (s core.Snapshot, err error) {
	if err := n.acquire(ctx, n.upkeep.backups.making); err != nil {
		return core.Snapshot{}, err
	}
	defer n.upkeep.backups.making.release()
	if err := n.checkRoom(); err != nil {
		return core.Snapshot{}, err
	}
	dir, err := n.backupDir()
	if err != nil {
		return core.Snapshot{}, fmt.Errorf("snapshot: %w", err)
	}
	// The open file outlives its name, and not the process.
	defer func() {
		if removed := os.RemoveAll(dir); err == nil && removed != nil {
			err = errors.Join(fmt.Errorf("snapshot: %w", removed), s.Body.Close())
		}
	}()
	v := n.published.hold()
	if v == nil {
		return core.Snapshot{}, core.Stopped
	}
	if err := v.MaySeeAll(who); err != nil {
		v.Close()
		return core.Snapshot{}, err
	}
	begin := time.Now()
	out, err := backup.Export(ctx, v, backup.ExportOptions{
		Dir: dir, Pace: n.pace(ctx, snapshotShare, busySnapshotShare), Logger: n.cfg.Logger,
	})
	if err != nil {
		return core.Snapshot{}, err
	}
	f, err := os.Open(out.Path)
	if err != nil {
		return core.Snapshot{}, fmt.Errorf("snapshot: %w", err)
	}
	n.cfg.Logger.Info("saved snapshot", "revision", out.Rev, "size", out.Size, "took", time.Since(begin))
	body := &snapshotBody{file: f, pace: n.paceSending(ctx), done: n.upkeep.backups.slots.release}
	return core.Snapshot{Size: out.Size, Version: out.Version, Body: body}, nil
}

// snapshotBody gives its slot up when it is closed. The file is not embedded: io.Copy would
// have it write itself, past the pace.
type snapshotBody struct {
	file *os.File
	pace func(bytes int) error
	once sync.Once
	done func()
}

// Read implements io.Reader.
func (b *snapshotBody) Read(p []byte) (int, error) {
	if err := b.pace(len(p)); err != nil {
		return 0, err
	}
	return b.file.Read(p)
}

var _ io.ReadCloser = (*snapshotBody)(nil)

func (b *snapshotBody) Close() (err error) {
	b.once.Do(func() {
		err = b.file.Close()
		b.done()
	})
	return err
}

// checkRoom fails if the disk has no room for a snapshot of the store.
func (n *Node) checkRoom() error {
	usage, err := n.cfg.FS.GetDiskUsage(n.cfg.DataDir)
	if err != nil {
		return nil //nolint:nilerr // a file system that does not tell is tried
	}
	if need := uint64(backup.Need(n.size())); usage.AvailBytes < need {
		return fmt.Errorf("a snapshot takes about %d bytes on the disk of --data-dir %s while it is sent, but %d are free: "+
			"make room there, or compact the history first", need, n.cfg.DataDir, usage.AvailBytes)
	}
	return nil
}

// backupDir makes an empty directory for a snapshot.
func (n *Node) backupDir() (string, error) {
	if n.cfg.FS != storage.DefaultFS { // a test's: bbolt knows the real one only
		return os.MkdirTemp("", "triglot-snapshot-")
	}
	parent := n.disk.dir.join(backupName)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(parent, "")
}

// clearBackups removes what a process that ended while it made a snapshot has left.
func (d *dataDir) clearBackups() error {
	if err := d.fs.RemoveAll(d.join(backupName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove an unfinished snapshot: %w", err)
	}
	return nil
}
