package state

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/state/znode"
)

// znodeRig is a rig of the product's sizes with a session, 10, and so many znodes
// below /bench.
func znodeRig(b *testing.B, znodes int) *rig {
	r := newSizedRig(b, 64<<20)
	b.Cleanup(r.close)
	r.cacheBytes = 64 << 20
	r.crash() // with the cache it was given
	r.must(&core.SessionOpen{ID: 10, Timeout: time.Second}, znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/bench"}))
	r.createMany("/bench/n-", znodes)
	return r
}

// must applies commands, none of which may fail, and commits them.
func (r *rig) must(cmds ...core.Command) {
	for _, reply := range r.apply(cmds...) {
		require.NoError(r.t, reply.Err)
	}
	r.commit()
}

// createMany creates so many znodes below a prefix, numbered as benchPath's are.
func (r *rig) createMany(prefix string, count int) {
	const atOnce = 1000
	for done := 0; done < count; done += atOnce {
		var cmds []core.Command
		for i := done; i < min(done+atOnce, count); i++ {
			cmds = append(cmds, znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: fmt.Sprintf("%s%06d", prefix, i)}))
		}
		r.must(cmds...)
	}
}

func benchPath(i int) string { return fmt.Sprintf("/bench/n-%06d", i) }

func znodeWrite(ops ...core.ZnodeOp) *core.ZnodeWrite {
	for i := range ops {
		ops[i].OpenACL, ops[i].Version = true, core.AnyVersion
	}
	return &core.ZnodeWrite{Session: core.SessionRef{ID: 10, Epoch: 1}, Ops: ops}
}

// applyAll applies commands in entries of 100, each committed, until b.N are.
func applyAll(b *testing.B, r *rig, cmd func(i int) core.Command) {
	const perEntry = 100
	var entries []command.Entry
	for i := range 200 {
		var cmds [][]byte
		for n := range perEntry {
			cmds = append(cmds, command.AppendCommand(nil, cmd(i*perEntry+n)))
		}
		entries = append(entries, command.Entry{TimeMS: int64(i), Batches: []command.Batch{
			{Member: testMember, Incarnation: testIncarnation, Commands: cmds},
		}})
	}
	own := func(core.MemberID, uint64) bool { return true }
	var replies []Reply
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += perEntry {
		index, _ := r.machine.Applied()
		var err error
		replies, err = r.machine.Apply(Entry{Index: index + 1, Term: 2, Frame: entries[i/perEntry%len(entries)], Own: own}, replies[:0])
		require.NoError(b, err)
		for n := range replies {
			if replies[n].Err != nil {
				b.Fatal(replies[n].Err)
			}
		}
		r.commit()
	}
}

// BenchmarkApplyZnodes is what apply costs a ZooKeeper write of 256 bytes over
// 10 000 znodes, as BenchmarkApplyPut does a put: setData; a multi of ten of them; a
// sequential create and the delete of it, which are two writes; a put of a key that is a
// znode's.
func BenchmarkApplyZnodes(b *testing.B) {
	const znodes = 10_000
	value := make([]byte, 256)
	b.Run("setData", func(b *testing.B) {
		applyAll(b, znodeRig(b, znodes), func(i int) core.Command {
			return znodeWrite(core.ZnodeOp{Type: core.ZnodeSetData, Path: benchPath(i * 7919 % znodes), Data: value})
		})
	})
	b.Run("multi", func(b *testing.B) {
		applyAll(b, znodeRig(b, znodes), func(i int) core.Command {
			ops := make([]core.ZnodeOp, 10)
			for n := range ops {
				ops[n] = core.ZnodeOp{Type: core.ZnodeSetData, Path: benchPath((10*i + n) * 7919 % znodes), Data: value}
			}
			w := znodeWrite(ops...)
			w.Multi = true
			return w
		})
	})
	b.Run("create+delete", func(b *testing.B) {
		applyAll(b, znodeRig(b, znodes), func(i int) core.Command {
			op := core.ZnodeOp{Type: core.ZnodeCreate, Path: fmt.Sprintf("/bench/t-%06d", i/2), Data: value}
			if i%2 == 1 {
				op = core.ZnodeOp{Type: core.ZnodeDelete, Path: op.Path}
			}
			return znodeWrite(op)
		})
	})
	b.Run("put", func(b *testing.B) {
		applyAll(b, znodeRig(b, znodes), func(i int) core.Command {
			return &core.Put{Key: []byte("/zk" + benchPath(i*7919%znodes)), Value: value}
		})
	})
	b.Run("put outside", func(b *testing.B) {
		applyAll(b, znodeRig(b, znodes), func(i int) core.Command {
			return &core.Put{Key: []byte("/k" + benchPath(i*7919%znodes)), Value: value}
		})
	})
}

// BenchmarkZnode is a read of a znode through a view, whose key and row are
// cached.
func BenchmarkZnode(b *testing.B) {
	r := znodeRig(b, 1)
	path := benchPath(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.view.Znodes().Znode(path, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// freshRows reads rows as if they had just been written.
type freshRows struct{ znode.Reader }

func (f freshRows) Row(key []byte) ([]byte, error) {
	row, err := f.Reader.Row(key)
	return slices.Clone(row), err
}

// BenchmarkChildren lists children: those that are remembered, and such as have changed.
func BenchmarkChildren(b *testing.B) {
	for _, count := range []int{1, 100, 10_000, 100_000} {
		r := znodeRig(b, count)
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.view.Znodes().Children(context.Background(), "/bench"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(count, " anew"), func(b *testing.B) {
			var known znode.Lists
			b.ReportAllocs()
			for b.Loop() {
				_, _, err := znode.Children(context.Background(), freshRows{r.view.reader}, rowScanner{r.view.snap}, &known, *r.view.mount, "/bench")
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDirectory is what apply costs a create and a delete, which are two writes, in
// a directory of ten children, and in one of a million: within 1.5 times as much. The
// store is the same: a larger one costs more by itself.
func BenchmarkDirectory(b *testing.B) {
	const many = 1_000_000
	r := znodeRig(b, many)
	r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/ten"}))
	r.createMany("/ten/n-", 10)
	require.NoError(b, r.db.Flush())
	value := make([]byte, 256)
	for _, dir := range []string{"/ten", "/bench"} {
		_, z, err := r.view.Znodes().Children(context.Background(), dir)
		require.NoError(b, err)
		b.Run(fmt.Sprint(z.NumChildren), func(b *testing.B) {
			applyAll(b, r, func(i int) core.Command {
				// Names that spread over those that there are.
				op := core.ZnodeOp{Type: core.ZnodeCreate, Path: fmt.Sprintf("%s/n-%06d.", dir, i/2*7919%many), Data: value}
				if i%2 == 1 {
					op = core.ZnodeOp{Type: core.ZnodeDelete, Path: op.Path}
				}
				return znodeWrite(op)
			})
		})
	}
}

// BenchmarkManyZnodes is what apply costs each of 10 000 znodes that one command
// makes, replaces or removes.
func BenchmarkManyZnodes(b *testing.B) {
	const count = 10_000
	var create, replace core.ZnodeWrite
	for i := range count {
		made := core.ZnodeOp{Type: core.ZnodeCreate, Path: benchPath(i)}
		gone := core.ZnodeOp{Type: core.ZnodeDelete, Path: benchPath(i)}
		create.Ops = append(create.Ops, made)
		replace.Ops = append(replace.Ops, gone, made)
	}
	remove := &core.DeleteRange{Interval: core.Interval{Key: []byte("/zk/bench/"), End: []byte("/zk/bench0")}}
	r := znodeRig(b, 0)
	b.ReportAllocs()
	for i := 0; i < b.N; i += count {
		for _, c := range []core.Command{znodeWrite(create.Ops...), znodeWrite(replace.Ops...), remove} {
			require.NoError(b, r.apply(c)[0].Err)
			r.commit()
		}
	}
	names, _, err := r.view.Znodes().Children(context.Background(), "/bench")
	require.NoError(b, err)
	require.Zero(b, names.Len())
}
