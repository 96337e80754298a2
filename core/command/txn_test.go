package command

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

func drawTxn(t *rapid.T) *core.Txn {
	key := rapid.SliceOfN(rapid.Byte(), 0, 200)
	in := func() core.Interval { return core.Interval{Key: key.Draw(t, "key"), End: key.Draw(t, "end")} }
	rev := func(label string) core.Rev { return core.Rev(rapid.Int64().Draw(t, label)) }
	op := func() core.Op {
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			return core.Op{Range: &core.Range{
				Interval: in(), Rev: rev("rev"), Limit: rapid.Int64().Draw(t, "limit"),
				SortTarget: core.SortTarget(rapid.Byte().Draw(t, "target")), SortOrder: core.SortOrder(rapid.Byte().Draw(t, "order")),
				KeysOnly: rapid.Bool().Draw(t, "keys only"), CountOnly: rapid.Bool().Draw(t, "count only"),
				MinModRev: rev("min mod"), MaxModRev: rev("max mod"), MinCreateRev: rev("min create"), MaxCreateRev: rev("max create"),
			}}
		case 1:
			return core.Op{Put: &core.Put{
				Key: key.Draw(t, "key"), Value: key.Draw(t, "value"), Lease: core.LeaseID(rev("lease")),
				PrevKV: rapid.Bool().Draw(t, "prev"), IgnoreValue: rapid.Bool().Draw(t, "value"), IgnoreLease: rapid.Bool().Draw(t, "lease"),
			}}
		default:
			return core.Op{Delete: &core.DeleteRange{Interval: in(), PrevKV: rapid.Bool().Draw(t, "prev")}}
		}
	}
	txn := &core.Txn{}
	for range rapid.IntRange(0, 3).Draw(t, "compares") {
		txn.Compares = append(txn.Compares, core.Compare{
			Interval: in(), Target: core.CompareTarget(rapid.Byte().Draw(t, "target")),
			Result: core.CompareResult(rapid.Byte().Draw(t, "result")),
			Number: rapid.Int64().Draw(t, "number"), Value: key.Draw(t, "value"),
		})
	}
	for range rapid.IntRange(0, 3).Draw(t, "then") {
		txn.Then = append(txn.Then, op())
	}
	for range rapid.IntRange(0, 3).Draw(t, "else") {
		txn.Else = append(txn.Else, op())
	}
	return txn
}

// TestTxnIsAsGenerated holds what is written by hand to the schema, byte for byte, and
// back.
func TestTxnIsAsGenerated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		txn := drawTxn(t)
		body, err := txnToPB(txn).MarshalVT()
		require.NoError(t, err)
		want := appendMessage(nil, fieldTxn, txnToPB(txn))
		require.Equal(t, want, AppendCommand(nil, txn))
		got, ok := decodeFlatTxn(body)
		require.True(t, ok)
		require.Empty(t, cmp.Diff(txn, got, cmpopts.EquateEmpty()))
	})
}

// FuzzTxn holds the decoder to the generated one: what it takes, that takes too, and finds
// the same in it.
func FuzzTxn(f *testing.F) {
	for _, c := range examples() {
		if txn, ok := c.(*core.Txn); ok {
			b, err := txnToPB(txn).MarshalVT()
			require.NoError(f, err)
			f.Add(b)
		}
	}
	f.Add([]byte{0x12, 0x04, 0x12, 0x00, 0x12, 0x00})                         // a put twice in one operation
	f.Add([]byte{0x12, 0x06, 0x12, 0x04, 0x0a, 0x00, 0x0a, 0x00})             // its key twice
	f.Add([]byte{0x12, 0x04, 0x12, 0x02, 0x20, 0x02})                         // a bool of another number
	f.Add([]byte{0x12, 0x09, 0x0a, 0x07, 0x28, 0x80, 0x80, 0x80, 0x80, 0x10}) // beyond 32 bits
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := decodeFlatTxn(b)
		if !ok {
			return
		}
		var m commandpb.Txn
		require.NoError(t, m.UnmarshalVT(b))
		want, err := txnFromPB(&m)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, got, cmpopts.EquateEmpty()))
	})
}

// BenchmarkTxn is Kubernetes' update.
func BenchmarkTxn(b *testing.B) {
	key := []byte("registry/pods/default/a-pod")
	txn := &core.Txn{
		Compares: []core.Compare{{Interval: core.Interval{Key: key}, Target: core.CompareModRev, Number: 12345}},
		Then:     []core.Op{{Put: &core.Put{Key: key, Value: make([]byte, 256)}}},
		Else:     []core.Op{{Range: &core.Range{Interval: core.Interval{Key: key}}}},
	}
	encoded := AppendCommand(nil, txn)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 512)
		for b.Loop() {
			buf = AppendCommand(buf[:0], txn)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeCommand(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}
