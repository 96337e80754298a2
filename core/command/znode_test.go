package command

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

// generated is a ZnodeWrite as the generated code has it.
func generated(w *core.ZnodeWrite) *commandpb.ZnodeWrite {
	m := &commandpb.ZnodeWrite{Session: sessionToPB(w.Session), Multi: w.Multi, EnforceQuota: w.EnforceQuota}
	for i := range w.Ops {
		op := &w.Ops[i]
		m.Ops = append(m.Ops, &commandpb.ZnodeOp{
			Type: uint32(op.Type), Path: []byte(op.Path), Data: op.Data, Null: op.Null, Version: op.Version,
			Kind: uint32(op.Kind), Sequential: op.Sequential, OpenAcl: op.OpenACL,
			Acl: []byte(op.ACL), TtlMs: op.TTL.Milliseconds(),
		})
	}
	return m
}

func drawZnodeWrite(t *rapid.T) *core.ZnodeWrite {
	op := rapid.Custom(func(t *rapid.T) core.ZnodeOp {
		return core.ZnodeOp{
			Type:       core.ZnodeOpType(rapid.Byte().Draw(t, "type")),
			Path:       string(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "path")),
			Data:       rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "data"),
			Null:       rapid.Bool().Draw(t, "null"),
			Version:    rapid.Int32().Draw(t, "version"),
			Kind:       core.ZnodeKind(rapid.Byte().Draw(t, "kind")),
			Sequential: rapid.Bool().Draw(t, "sequential"),
			OpenACL:    rapid.Bool().Draw(t, "open"),
			ACL:        core.ACL(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "acl")),
			TTL:        time.Duration(rapid.Int32().Draw(t, "ttl")) * time.Millisecond,
		}
	})
	return &core.ZnodeWrite{
		Session: core.SessionRef{ID: core.LeaseID(rapid.Int64().Draw(t, "id")), Epoch: rapid.Uint64().Draw(t, "epoch")},
		Ops:     rapid.SliceOfN(op, 0, 4).Draw(t, "ops"),
		Multi:   rapid.Bool().Draw(t, "multi"),

		EnforceQuota: rapid.Bool().Draw(t, "quota"),
	}
}

// TestZnodeWriteIsAsGenerated holds what is written by hand to the schema, byte
// for byte, and back.
func TestZnodeWriteIsAsGenerated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawZnodeWrite(t)
		want, err := (&commandpb.Command{Kind: &commandpb.Command_ZnodeWrite{ZnodeWrite: generated(w)}}).MarshalVT()
		require.NoError(t, err)
		require.Equal(t, want, AppendCommand(nil, w))
		got, err := DecodeCommand(want)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(core.Command(w), got, cmpopts.EquateEmpty()))
	})
}

// FuzzZnodeWrite holds the decoder to the generated one: what it takes, that takes
// too, and finds the same in it.
func FuzzZnodeWrite(f *testing.F) {
	for _, c := range examples() {
		if w, ok := c.(*core.ZnodeWrite); ok {
			b, err := generated(w).MarshalVT()
			require.NoError(f, err)
			f.Add(b)
		}
	}
	f.Add([]byte{0x0a, 0x02, 0x08, 0x01, 0x0a, 0x02, 0x10, 0x01}) // two halves of a session
	f.Add([]byte{0x22, 0x00, 0x2b, 0x2c})                         // fields of a later version
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeZnodeWrite(b)
		if err != nil {
			return
		}
		var m commandpb.ZnodeWrite
		require.NoError(t, (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &m))
		want := &core.ZnodeWrite{Session: sessionFromPB(m.Session), Multi: m.Multi, EnforceQuota: m.EnforceQuota}
		for _, op := range m.Ops {
			want.Ops = append(want.Ops, core.ZnodeOp{
				Type: core.ZnodeOpType(op.Type), Path: string(op.Path), Data: op.Data, Null: op.Null, Version: op.Version,
				Kind: core.ZnodeKind(op.Kind), Sequential: op.Sequential, OpenACL: op.OpenAcl,
				ACL: core.ACL(op.Acl), TTL: milliseconds(op.TtlMs),
			})
		}
		require.Empty(t, cmp.Diff(want, got, cmpopts.EquateEmpty()))
	})
}

func BenchmarkSetData(b *testing.B) {
	set := &core.ZnodeWrite{
		Session: core.SessionRef{ID: 1 << 60, Epoch: 1},
		Ops:     []core.ZnodeOp{{Type: core.ZnodeSetData, Path: "/registry/pods/default/a-pod", Data: make([]byte, 256), Version: -1}},
	}
	encoded := AppendCommand(nil, set)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 512)
		for b.Loop() {
			buf = AppendCommand(buf[:0], set)
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
