package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/backup/zksnap"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/state/lease"
)

// Snapshot implements core.Znodes. It shares the slots of the other backups.
func (z znodes) Snapshot(ctx context.Context, who core.Principal) (core.ZnodeSnapshot, error) {
	backups := &z.n.upkeep.backups
	select {
	case backups.slots <- struct{}{}:
	default:
		return core.ZnodeSnapshot{}, core.TooManyRequests
	}
	s, err := z.snapshot(ctx, who)
	if err != nil {
		backups.slots.release()
		return core.ZnodeSnapshot{}, err
	}
	return s, nil
}

// snapshot makes a snapshot in a slot, which its body gives up.
func (z znodes) snapshot(ctx context.Context, who core.Principal) (s core.ZnodeSnapshot, err error) {
	n := z.n
	if err := n.acquire(ctx, n.upkeep.backups.making); err != nil {
		return core.ZnodeSnapshot{}, err
	}
	defer n.upkeep.backups.making.release()
	if err := n.checkRoom(); err != nil {
		return core.ZnodeSnapshot{}, err
	}
	dir, err := n.backupDir()
	if err != nil {
		return core.ZnodeSnapshot{}, fmt.Errorf("snapshot of the znodes: %w", err)
	}
	// The open file outlives its name, and not the process.
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	v := n.published.hold()
	if v == nil {
		return core.ZnodeSnapshot{}, core.Stopped
	}
	defer v.Close()
	f, err := os.OpenFile(filepath.Join(dir, "znodes"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return core.ZnodeSnapshot{}, fmt.Errorf("snapshot of the znodes: %w", err)
	}
	begin := time.Now()
	e := znodeExport{ctx: ctx, view: v, seen: v.As(who), pace: n.pace(ctx, snapshotShare, busySnapshotShare)}
	size, err := e.run(f)
	if err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		return core.ZnodeSnapshot{}, errors.Join(err, f.Close())
	}
	n.cfg.Logger.Info("made a snapshot for ZooKeeper", "revision", v.Rev(), "size", size, "took", time.Since(begin))
	body := &snapshotBody{file: f, pace: n.paceSending(ctx), done: n.upkeep.backups.slots.release}
	return core.ZnodeSnapshot{Rev: v.Rev(), Size: size, Body: body}, nil
}

// znodeExport is one run through all znodes of a view, as one who may read them sees
// it.
type znodeExport struct {
	ctx  context.Context //nolint:containedctx // of one call
	view *state.View
	seen core.View
	pace func() error
	acls map[core.ZnodeACL]core.ACL
}

// run writes the snapshot. The znodes are gone through twice: all ACLs precede them.
func (e *znodeExport) run(f *os.File) (size int64, err error) {
	e.acls = map[core.ZnodeACL]core.ACL{core.ACLOpen: ""}
	var lists []core.ACL
	err = e.each("/", func(_ string, z *core.Znode) error {
		if _, known := e.acls[z.ACL]; known {
			return nil
		}
		entries, err := e.seen.Znodes().ACL(z.ACL)
		if err != nil {
			return err
		}
		e.acls[z.ACL] = core.PackACL(entries...)
		lists = append(lists, e.acls[z.ACL])
		return nil
	})
	if err != nil {
		return 0, err
	}
	sessions, err := e.sessions()
	if err != nil {
		return 0, err
	}
	w, err := zksnap.NewWriter(f, zksnap.Header{Zxid: e.view.Rev(), Sessions: sessions}, lists)
	if err != nil {
		return 0, err
	}
	err = e.each("/", func(path string, z *core.Znode) error {
		life, err := e.view.ZnodeLife(path)
		if errors.Is(err, core.NoNode) { // ZooKeeper's own have no row
			life.Creates, err = createsOf(z), nil
		}
		if err != nil {
			return err
		}
		return w.Write(&zksnap.Node{
			Path: path, Data: z.Data, Null: z.Null, ACL: e.acls[z.ACL],
			Stat: zksnap.Stat{
				Czxid: z.Czxid, Mzxid: z.Mzxid, Pzxid: z.Pzxid, Ctime: z.Ctime, Mtime: z.Mtime,
				Version: z.Version, Creates: life.Creates, Aversion: z.Aversion,
				Kind: kindOf(z, life.Kind), TTL: life.TTL, Owner: z.EphemeralOwner,
			},
		})
	})
	if err != nil {
		return 0, err
	}
	return w.Close()
}

// createsOf is the number of children ever made, of which ZooKeeper reports twice as
// many less those that there are (S1).
func createsOf(z *core.Znode) int32 { return (z.Cversion + z.NumChildren) / 2 }

// kindOf is what the znode is to ZooKeeper: one whose key has a lease goes with it.
func kindOf(z *core.Znode, kind core.ZnodeKind) core.ZnodeKind {
	switch {
	case z.EphemeralOwner != 0:
		return core.ZnodeEphemeral
	case kind == core.ZnodeEphemeral:
		return core.ZnodePersistent
	}
	return kind
}

// each calls fn for a znode and those below it, parents first. It fails with NoAuth
// where one may not read.
func (e *znodeExport) each(path string, fn func(path string, z *core.Znode) error) error {
	if err := e.pace(); err != nil {
		return err
	}
	names, z, err := e.seen.Znodes().Children(e.ctx, path)
	if err != nil {
		return err
	}
	if err := fn(path, &z); err != nil {
		return err
	}
	if path == "/" {
		path = ""
	}
	for name := range names.All() {
		if err := e.each(path+"/"+name, fn); err != nil {
			return err
		}
	}
	return nil
}

// sessions are all leases: a ZooKeeper deletes the znodes of those that it does not
// know.
func (e *znodeExport) sessions() (all []zksnap.Session, err error) {
	err = e.view.EachLease(func(id core.LeaseID, l lease.Lease) {
		timeout := l.TTL
		if !l.Session() {
			timeout = min(timeout, maxExportedTTL)
		}
		all = append(all, zksnap.Session{ID: id, Timeout: timeout})
	})
	return all, err
}

// maxExportedTTL is the longest time that the snapshot can hold.
const maxExportedTTL = (1<<31 - 1) * time.Millisecond
