package state

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage/mvcc"
)

// checkChildren compares what a view says of a znode's children with what the engine has.
func checkChildren(v *View, path string) error {
	ctx := context.Background()
	want, z, wantErr := znode.Children(ctx, v.reader, rowScanner{v.snap}, nil, *v.mount, path)
	names, got, err := v.Children(ctx, path)
	switch {
	case (err == nil) != (wantErr == nil) || core.KindOf(err) != core.KindOf(wantErr):
		return fmt.Errorf("%s at %d: got %w instead of %w", path, v.Rev(), err, wantErr)
	case z.Stat != got.Stat || names.Len() != want.Len() || names.Len() != int(z.NumChildren):
		return fmt.Errorf("%s at %d: got %d children and %+v instead of %d and %+v", path, v.Rev(), names.Len(), got.Stat, want.Len(), z.Stat)
	case string(names.Packed()) != string(want.Packed()):
		return fmt.Errorf("%s at %d: got %q instead of %q", path, v.Rev(), names.Packed(), want.Packed())
	}
	return nil
}

// TestChildrenOfViews lists children in views of several ages while both faces write:
// creates and deletes, multis that fail and such that do not, transactions, range deletes,
// sessions that end, restores, several entries in a commit; with row caches that hold all
// rows, few, or none.
func TestChildrenOfViews(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newMountedRig(t, 1<<20, rapid.SampledFrom([]string{"/zk", ""}).Draw(t, "mount"))
		defer func() { r.close() }()
		r.cacheBytes = rapid.SampledFrom([]int64{1 << 20, 1 << 11, 0}).Draw(t, "cache")
		require.NoError(t, r.db.Flush())
		r.crash() // with the cache it was given
		w := newWorld(r.mount)
		for id := range core.LeaseID(4) {
			r.must(&core.SessionOpen{ID: id + 1, Timeout: time.Second})
			w.leases[id+1] = 1
		}
		var old []*View
		defer func() {
			for _, v := range old {
				v.Close()
			}
		}()
		restores := uint64(0)
		for range rapid.IntRange(10, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 40).Draw(t, "step") {
			case 0: // to what it was before, whatever came since
				restores++
				r.restoreAll(restores, r.view.Rev(), nil, r.exported(), 3)
			case 1, 2, 3, 4:
				if require.True(t, r.view.Retain()); len(old) == 4 {
					old[0].Close()
					old = old[1:]
				}
				old = append(old, r.view)
			default:
				for range rapid.IntRange(1, 3).Draw(t, "commands") {
					c := drawZnodeCommand(t, w)
					r.who = core.Principal{Member: true}
					if _, ok := c.(*core.ZnodeWrite); ok {
						r.who = core.Principal{IDs: drawIdentities.Draw(t, "who")}
					}
					r.apply(c)
				}
				r.commit()
			}
			for range rapid.IntRange(1, 6).Draw(t, "lists") {
				v := rapid.SampledFrom(append(slices.Clone(old), r.view, r.view, r.view)).Draw(t, "view")
				path := rapid.SampledFrom([]string{"/a", "/a", "/e", "/s", "/", "", "/a/b", "/zookeeper/quota", "/none"}).Draw(t, "path")
				require.NoError(t, checkChildren(v, path))
			}
		}
	})
}

// A restore brings back a row that the znode has had before, byte for byte, with other
// children.
func TestChildrenAfterARestoreOfTheSameRow(t *testing.T) {
	r := newRig(t)
	var row []byte
	for i, child := range []string{"/a/x", "/a/y"} {
		r.restoreAll(uint64(i+1), 100, nil, []core.RestoredZnode{
			{Path: "/a", RestoredLife: core.RestoredLife{Czxid: 5, Mzxid: 5, Pzxid: 7, Creates: 3}},
			{Path: child, RestoredLife: core.RestoredLife{Czxid: 7, Mzxid: 7, Pzxid: 7}},
		}, 1)
		names, _, err := r.view.Children(context.Background(), "/a")
		require.NoError(t, err)
		require.Equal(t, []string{child[3:]}, slices.Collect(names.All()))
		now, err := r.view.reader.Row([]byte("n\x00\x00\x00\x01/a\x00"))
		require.NoError(t, err)
		if i > 0 {
			require.Equal(t, row, now, "what is tested")
		}
		row = now
	}
}

// A state that replaces another, with the caches of that one, has children of its own, and
// the views of the other go on.
func TestChildrenOfAStateThatReplacesAnother(t *testing.T) {
	before, after := newRig(t), newRig(t)
	for r, child := range map[*rig]string{before: "/a/x", after: "/a/y"} {
		r.must(&core.SessionOpen{ID: 10, Timeout: time.Second})
		r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/a"}, core.ZnodeOp{Type: core.ZnodeCreate, Path: child}))
	}
	require.NoError(t, checkChildren(before.view, "/a"))
	index, _ := after.machine.Applied()
	caches := before.machine.caches
	for _, c := range []*mvcc.Cache{caches.Versions, caches.Rows} {
		c.Clear(index)
	}
	require.NoError(t, after.machine.Close())
	var err error
	after.machine, err = Open(after.db, caches)
	require.NoError(t, err)
	after.commit()
	for range 2 {
		for r, want := range map[*rig]string{before: "x", after: "y"} {
			names, _, err := r.view.Children(context.Background(), "/a")
			require.NoError(t, err)
			require.Equal(t, []string{want}, slices.Collect(names.All()))
		}
	}
}

// TestChildrenBesideWrites lists the children of a few znodes while they come and go, many
// readers at a time, each with the view that was the latest when it looked.
func TestChildrenBesideWrites(t *testing.T) {
	const writes, reads, readers, parents = 400, 2000, 3, 3
	r := newRig(t)
	r.must(&core.SessionOpen{ID: 10, Timeout: time.Second})
	for p := range parents {
		r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: fmt.Sprintf("/%d", p)}))
	}
	var latest atomic.Pointer[View]
	publish := func() {
		require.True(t, r.view.Retain())
		if old := latest.Swap(r.view); old != nil {
			old.Close()
		}
	}
	publish()
	var done atomic.Bool
	var made atomic.Int64
	var running sync.WaitGroup
	for reader := range readers {
		running.Go(func() {
			for i := reader; !done.Load(); i++ {
				v := latest.Load()
				if !v.Retain() {
					continue // there is a later one
				}
				err := checkChildren(v, fmt.Sprintf("/%d", i%parents))
				v.Close()
				if made.Add(1); err != nil {
					made.Add(reads) // nobody is to wait for more
					t.Error(err)
					return
				}
			}
		})
	}
	for i := 0; i < writes || made.Load() < reads; i++ {
		op := core.ZnodeOp{Type: core.ZnodeCreate, Path: fmt.Sprintf("/%d/%d", i%parents, i/parents%7)}
		if r.key("/zk"+op.Path) != nil {
			op.Type = core.ZnodeDelete
		}
		r.must(znodeWrite(op))
		publish()
	}
	done.Store(true)
	running.Wait()
	latest.Load().Close()
}
