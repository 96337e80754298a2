package state

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

// BenchmarkApplyPut is what apply costs a put of 256 bytes over 10 000 keys, in
// entries of 100 commands, each committed: decoding, the rules, both rows, the
// engine's commit, the cache and the view.
func BenchmarkApplyPut(b *testing.B) {
	const perEntry, keyCount = 100, 10_000
	r := newSizedRig(b, 64<<20) // the product's: flushing is measured in storage/mvcc
	b.Cleanup(r.close)
	r.cacheBytes = 64 << 20
	r.crash() // with the cache it was given
	b.ResetTimer()
	value := make([]byte, 256)
	entry := func(i int) command.Entry {
		var cmds [][]byte
		for n := range perEntry {
			key := fmt.Appendf(nil, "key-%06d", (i*perEntry+n*7919)%keyCount)
			cmds = append(cmds, command.AppendCommand(nil, &core.Put{Key: key, Value: value}))
		}
		return command.Entry{TimeMS: int64(i), Batches: []command.Batch{
			{Member: testMember, Incarnation: testIncarnation, Commands: cmds},
		}}
	}
	var entries []command.Entry
	for i := range 200 {
		entries = append(entries, entry(i))
	}
	own := func(core.MemberID, uint64) bool { return true }
	var replies []Reply
	b.ReportAllocs()
	for i := 0; i < b.N; i += perEntry {
		index, _ := r.machine.Applied()
		var err error
		replies, err = r.machine.Apply(Entry{Index: index + 1, Term: 2, Frame: entries[i/perEntry%len(entries)], Own: own}, replies[:0])
		require.NoError(b, err)
		r.commit()
	}
}

// BenchmarkGet is a get through a view: of a key in the row cache, and of one
// that does not exist.
func BenchmarkGet(b *testing.B) {
	r := newRig(b)
	r.apply(&core.Put{Key: []byte("key"), Value: make([]byte, 256)})
	r.commit()
	for name, key := range map[string]string{"cached": "key", "absent": "none"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			q := &core.Range{Interval: core.Interval{Key: []byte(key)}}
			for b.Loop() {
				if _, err := r.view.Range(context.Background(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDeleteRange is what apply costs each of the 10 000 keys that one
// delete removes.
func BenchmarkDeleteRange(b *testing.B) {
	const keyCount = 10_000
	r := newRig(b)
	for i := 0; i < b.N; i += keyCount {
		b.StopTimer()
		var puts []core.Command
		for n := range keyCount {
			puts = append(puts, &core.Put{Key: fmt.Appendf(nil, "key-%06d", n)})
		}
		r.apply(puts...)
		r.commit()
		b.StartTimer()
		r.apply(&core.DeleteRange{Interval: core.Interval{Key: []byte("key-"), End: []byte("key.")}})
		r.commit()
	}
}
