package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/backup/zksnap"
	"github.com/triglot/triglot/core/state"
)

const (
	// restoreChunk is about how large the command is that restores some znodes; one that
	// is larger has a command of its own.
	restoreChunk = 512 << 10
	// restoredSessions is how many sessions one command restores.
	restoredSessions = 1000
	// restoredOverhead is about what a znode takes in a command besides its path, data
	// and list.
	restoredOverhead = 64
	// receiveStep is how much of a file is taken between looks at the disk.
	receiveStep = 16 << 20
)

// Restore implements core.Znodes. It has one of the slots of backups. The file is on the
// disk, and known to be whole, before anything is changed; from then on the restore does
// not end with ctx, but with the member alone.
func (z znodes) Restore(ctx context.Context, who core.Principal, r io.Reader) (core.Rev, error) {
	n := z.n
	if err := n.mayRestore(ctx, who); err != nil {
		return 0, err
	}
	backups := &n.upkeep.backups
	select {
	case backups.slots <- struct{}{}:
		defer backups.slots.release()
	default:
		return 0, core.TooManyRequests
	}
	dir, err := n.backupDir()
	if err != nil {
		return 0, fmt.Errorf("restore of the znodes: %w", err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			n.cfg.Logger.Warn("what was restored is left behind", "directory", dir, "error", err)
		}
	}()
	f, err := os.OpenFile(filepath.Join(dir, "znodes"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, fmt.Errorf("restore of the znodes: %w", err)
	}
	defer f.Close() //nolint:errcheck // it is removed
	if err := n.receive(ctx, f, r); err != nil {
		return 0, err
	}
	if err := n.acquire(ctx, backups.making); err != nil { // only now: a caller may be slow
		return 0, err
	}
	defer backups.making.release()
	restore := znodeRestore{n: n, file: f, begin: time.Now()}
	if err := restore.check(ctx); err != nil {
		return 0, err
	}
	return restore.run(context.WithoutCancel(ctx))
}

// mayRestore fails unless who may replace all znodes: as an administrator of etcd's, and
// with the rights to what ACLs protect.
func (n *Node) mayRestore(ctx context.Context, who core.Principal) error {
	if err := n.requireRoot(ctx, who); err != nil {
		return err
	}
	v := n.published.hold()
	if v == nil {
		return core.Stopped
	}
	defer v.Close()
	return v.MaySeeAll(who)
}

// receive puts a file on the disk, as long as there is room for it.
func (n *Node) receive(ctx context.Context, f *os.File, r io.Reader) error {
	for {
		if err := n.restoreRoom(receiveStep); err != nil {
			return err
		}
		copied, err := io.CopyN(f, r, receiveStep)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return core.Errorf(core.InvalidArgument, "the snapshot to restore was not received whole: %v", err)
		case ctx.Err() != nil:
			return core.ContextError(ctx.Err())
		case copied != receiveStep:
			return io.ErrShortWrite
		}
	}
}

// restoreRoom fails if so many bytes more would bring the disk near where the low-disk
// alarm stops all writes.
func (n *Node) restoreRoom(bytes int64) error {
	usage, err := n.cfg.FS.GetDiskUsage(n.cfg.DataDir)
	if err != nil {
		return nil //nolint:nilerr // a file system that does not tell is tried
	}
	mark := (&lowDisk{n: n}).watermark(usage.TotalBytes)
	if usage.AvailBytes < 2*mark+uint64(bytes) {
		return core.Errorf(core.NoSpace, "the disk of --data-dir %s has %d bytes left: the snapshot to restore needs more room", n.cfg.DataDir, usage.AvailBytes)
	}
	return nil
}

// znodeRestore is one restore, from a file on the disk.
type znodeRestore struct {
	n     *Node
	file  *os.File
	begin time.Time
	id    uint64
	// zxid is the highest that occurs, znodes their number, bytes what they take.
	zxid   core.Rev
	znodes int64
	bytes  int64
	// sessions are those of the file, which live on while it is restored.
	sessions []core.LeaseID
	touched  time.Time
}

// each calls fn for the znodes of the file, having called begin with what precedes them.
// It fails with InvalidArgument if the file is no snapshot, or is damaged.
func (r *znodeRestore) each(begin func(*zksnap.Header) error, fn func(*core.RestoredZnode) error) error {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sr, err := zksnap.NewReader(r.file)
	if err == nil {
		err = begin(&sr.Header)
	}
	for err == nil {
		var node *zksnap.Node
		if node, err = sr.Next(); err == nil {
			err = fn(restoredZnode(node))
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		r.zxid = max(r.zxid, sr.Zxid)
		return nil
	case errors.Is(err, zksnap.ErrFormat):
		return core.Errorf(core.InvalidArgument, "%v", err)
	}
	return err
}

func restoredZnode(z *zksnap.Node) *core.RestoredZnode {
	return &core.RestoredZnode{
		Path: z.Path, Data: z.Data, Null: z.Null, ACL: z.ACL,
		RestoredLife: core.RestoredLife{
			Kind: z.Kind, TTL: z.TTL, Owner: z.Owner, Czxid: z.Czxid, Mzxid: z.Mzxid, Pzxid: z.Pzxid,
			Ctime: z.Ctime, Mtime: z.Mtime, Version: z.Version, Creates: z.Creates, Aversion: z.Aversion,
		},
	}
}

func sizeOf(z *core.RestoredZnode) int {
	return len(z.Path) + len(z.Data) + len(z.ACL) + restoredOverhead
}

// check reads the file to its end, and finds out whether the store can have all of it.
func (r *znodeRestore) check(ctx context.Context) error {
	sessions := func(h *zksnap.Header) error {
		for _, s := range h.Sessions {
			r.sessions = append(r.sessions, s.ID)
			if s.ID == 0 || s.Timeout < time.Millisecond {
				return core.Errorf(core.InvalidArgument, "the snapshot has session 0x%x with a timeout of %v", uint64(s.ID), s.Timeout)
			}
		}
		return nil
	}
	before := ""
	err := r.each(sessions, func(z *core.RestoredZnode) error {
		size := sizeOf(z)
		r.znodes++
		r.bytes += int64(size)
		r.zxid = max(r.zxid, z.Czxid, z.Mzxid, z.Pzxid)
		switch {
		case !state.CheckRestorable(z) || min(z.Czxid, z.Mzxid, z.Pzxid) < 0:
			return core.Errorf(core.InvalidArgument, "the snapshot has a znode that cannot be one here: %.200q", z.Path)
		case !follows(z.Path, before):
			return core.Errorf(core.InvalidArgument, "the snapshot has znode %.200q before its parent", z.Path)
		case size > r.n.cfg.Limits.RequestBytes:
			return core.Errorf(core.RequestTooLarge, "znode %.200q of the snapshot takes %d bytes, more than --max-request-bytes", z.Path, size)
		}
		before = z.Path
		return ctx.Err()
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return core.ContextError(ctx.Err())
	case err != nil:
		return err
	case r.znodes == 0 || r.zxid > core.MaxRestoredZxid:
		return core.Errorf(core.InvalidArgument, "the snapshot has %d znodes, and zxid 0x%x", r.znodes, int64(r.zxid))
	}
	return r.room()
}

// room fails if the store may not, or cannot, take what the snapshot holds: it is written
// to the log, to the engine's, and to its tables.
func (r *znodeRestore) room() error {
	if alarms := r.n.Status().Alarms; len(alarms) > 0 {
		if slices.ContainsFunc(alarms, func(a core.Alarm) bool { return a.Type == core.AlarmCorrupt }) {
			return core.Corrupt
		}
		return core.NoSpace
	}
	if quota := r.n.cfg.Limits.QuotaBytes; quota > 0 && r.n.size()+r.bytes > quota {
		return core.Errorf(core.NoSpace, "the snapshot takes %d bytes: with the history of the store that is more than its quota", r.bytes)
	}
	return r.n.restoreRoom(3 * r.bytes)
}

// follows reports whether a znode can follow another where children come right behind
// their parents, as ZooKeeper writes them: its parent is the one before, or an ancestor of
// that, and so it is there. The first is the root.
func follows(path, before string) bool {
	if path == "/" || before == "" {
		return path == "/" && before == ""
	}
	parent := path[:strings.LastIndexByte(path, '/')]
	return before == parent || parent == "" || strings.HasPrefix(before, parent+"/")
}

// run replaces the znodes. If it fails, the store has some of them.
func (r *znodeRestore) run(ctx context.Context) (core.Rev, error) {
	for r.id == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		r.id = binary.LittleEndian.Uint64(b[:])
	}
	log := r.n.cfg.Logger
	log.Warn("replacing all znodes by those of a snapshot", "zxid", r.zxid, "znodes", r.znodes, "bytes", r.bytes)
	rev, err := r.replace(ctx)
	if err != nil {
		log.Error("the restore of the znodes was cut off: the store has some of them, restore them again", "error", err)
		return 0, err
	}
	log.Info("restored the znodes", "revision", rev, "took", time.Since(r.begin))
	return rev, nil
}

func (r *znodeRestore) replace(ctx context.Context) (core.Rev, error) {
	if _, _, err := r.step(ctx, &core.ZnodeRestore{Step: core.ZnodeRestoreBegin, Zxid: r.zxid}); err != nil {
		return 0, err
	}
	chunk := &core.ZnodeRestore{Step: core.ZnodeRestoreFill}
	size := 0
	flush := func() error {
		_, _, err := r.step(ctx, chunk)
		chunk.Znodes, size = chunk.Znodes[:0], 0
		return err
	}
	begin := func(h *zksnap.Header) error { return r.clear(ctx, h.Sessions) }
	err := r.each(begin, func(z *core.RestoredZnode) error {
		if size > 0 && size+sizeOf(z) > restoreChunk {
			if err := flush(); err != nil {
				return err
			}
		}
		chunk.Znodes, size = append(chunk.Znodes, *z), size+sizeOf(z)
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return 0, err
	}
	rev, _, err := r.step(ctx, &core.ZnodeRestore{Step: core.ZnodeRestoreEnd})
	return rev, err
}

// clear makes the sessions of the snapshot, and does away with all that there was.
func (r *znodeRestore) clear(ctx context.Context, sessions []zksnap.Session) error {
	for len(sessions) > 0 {
		some := sessions[:min(len(sessions), restoredSessions)]
		sessions = sessions[len(some):]
		c := &core.ZnodeRestore{Step: core.ZnodeRestoreSessions}
		for _, s := range some {
			password := zksnap.Password(s.ID)
			c.Sessions = append(c.Sessions, core.RestoredSession{ID: s.ID, Timeout: s.Timeout, Secret: sha256.Sum256(password[:])})
		}
		if _, _, err := r.step(ctx, c); err != nil {
			return err
		}
	}
	for {
		_, more, err := r.step(ctx, &core.ZnodeRestore{Step: core.ZnodeRestoreClear})
		if err != nil || !more {
			return err
		}
	}
}

// touch gives the sessions of the file their full timeouts again: what they own comes
// back in the end only, and so may their clients. It does so now and then, or now.
func (r *znodeRestore) touch(now bool) {
	if !now && time.Since(r.touched) < core.TouchInterval {
		return
	}
	for _, id := range r.sessions {
		r.n.leases.touch(id) // one that has ended by now has
	}
	r.touched = time.Now()
}

// step has one step replicated and applied.
func (r *znodeRestore) step(ctx context.Context, c *core.ZnodeRestore) (rev core.Rev, more bool, err error) {
	c.ID = r.id
	res, err := r.n.do(ctx, c)
	if err != nil {
		return 0, false, err
	}
	out, _ := res.Outcome.(core.ZnodeRestoreOutcome)
	r.touch(c.Step == core.ZnodeRestoreEnd)
	return res.Rev, out.More, nil
}
