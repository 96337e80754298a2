package command

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

// examples has one command of every kind, each field set.
func examples() []core.Command {
	return []core.Command{
		&core.Put{Key: []byte("config/db"), Value: []byte("localhost:3306"), Lease: -7, PrevKV: true, IgnoreValue: true, IgnoreLease: true},
		&core.Put{},
		&core.DeleteRange{Interval: core.Interval{Key: []byte("a"), End: []byte("b")}, PrevKV: true},
		&core.Txn{
			Compares: []core.Compare{
				{Interval: core.Interval{Key: []byte("k"), End: core.FromKey}, Target: core.CompareModRev, Result: core.CompareLess, Number: 12},
				{Interval: core.Interval{Key: []byte("k")}, Target: core.CompareValue, Value: []byte("v")},
			},
			Then: []core.Op{
				{Put: &core.Put{Key: []byte("k"), Value: []byte("w")}},
				{Range: &core.Range{
					Interval: core.Interval{Key: []byte("k"), End: []byte("l")}, Rev: 3, Limit: 4,
					SortTarget: core.SortByValue, SortOrder: core.SortDescend, KeysOnly: true, CountOnly: true,
					MinModRev: 5, MaxModRev: 6, MinCreateRev: 7, MaxCreateRev: 8,
				}},
			},
			Else: []core.Op{
				{Delete: &core.DeleteRange{Interval: core.Interval{Key: []byte("k")}}},
				{Txn: &core.Txn{Then: []core.Op{{Put: &core.Put{Key: []byte("n")}}}}},
			},
		},
		&core.Compact{Rev: 42},
		&core.LeaseGrant{ID: 7, TTL: 5 * time.Second},
		&core.LeaseRevoke{ID: 7},
		&core.LeaseExpire{IDs: []core.LeaseID{7, -8}, Term: 3, AsOf: 99},
		&core.SetAlarm{Alarm: core.Alarm{Member: 9, Type: core.AlarmNoSpace}, On: true},
		&core.SetMember{Member: core.Member{ID: 9, Name: "default", PeerURLs: []string{"http://localhost:2380"}, ClientURLs: []string{"http://localhost:2379"}, Learner: true}},
		&core.ZnodeWrite{
			Session: core.SessionRef{ID: 7, Epoch: 3},
			Ops: []core.ZnodeOp{
				{Type: core.ZnodeCreate, Path: "/a/lock-", Data: []byte("me"), Kind: core.ZnodeEphemeral, Sequential: true, OpenACL: true},
				{Type: core.ZnodeCreate, Path: "/t", Kind: core.ZnodeTTL, TTL: time.Second, ACL: core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "ip", ID: "10.0.0.0/8"})},
				{Type: core.ZnodeCreate, Path: "/no\xffutf8", Null: true, Kind: core.ZnodeContainer},
				{Type: core.ZnodeDelete, Path: "/b", Version: core.AnyVersion},
				{Type: core.ZnodeSetData, Path: "/c", Data: []byte{0}, Version: 1 << 30},
				{Type: core.ZnodeCheck, Path: "/d", Version: -1 << 31},
				{},
			},
			Multi: true,
		},
		&core.ZnodeWrite{Session: core.SessionRef{ID: -7}, Ops: []core.ZnodeOp{{Type: core.ZnodeSetData, Path: "/c", Data: []byte("x"), Version: 3}}},
		&core.ZnodeWrite{},
		&core.SessionOpen{ID: 7, Timeout: 30 * time.Second, Secret: core.SecretHash{0: 1, 31: 2}},
		&core.SessionAttach{ID: 7, Timeout: 20 * time.Second, Secret: core.SecretHash{0: 1, 31: 2}},
		&core.SessionClose{Session: core.SessionRef{ID: 7, Epoch: 2}},
		&core.LeaseCheckpoint{Leases: []core.LeaseRemaining{{ID: 7, TTL: time.Minute}, {ID: -8, TTL: time.Second}}, Persist: true, Term: 3},
		&core.ZnodeReap{Paths: []string{"/a", "/b"}, NeverUsed: time.Minute, Term: 7},
		&core.SetZnodeACLPolicy{Policy: core.ZnodeACLHide},
		&core.ZnodeRestore{
			ID: 9, Step: core.ZnodeRestoreFill, Zxid: 1 << 33,
			Sessions: []core.RestoredSession{{ID: -7, Timeout: time.Second, Secret: core.SecretHash{0: 1, 31: 2}}},
			Znodes: []core.RestoredZnode{
				{Path: "/a", Data: []byte("d"), ACL: core.PackACL(core.ACLEntry{Perms: core.PermRead, Scheme: "world", ID: "anyone"}), RestoredLife: core.RestoredLife{
					Kind: core.ZnodeTTL, TTL: time.Minute, Owner: 7, Czxid: 1, Mzxid: 2, Pzxid: 3, Ctime: 4, Mtime: 5, Version: 6, Creates: -1, Aversion: 8,
				}},
				{Path: "/b", Null: true},
			},
		},
		&core.SetDowngrade{Target: "3.6.0"},
		&core.MemberUpdate{ID: 7, PeerURLs: []string{"http://h:1", "http://h:2"}},
		&core.MemberAdd{Member: core.Member{ID: 9, PeerURLs: []string{"http://h:1"}, Learner: true}, MaxLearners: 3},
		&core.MemberRemove{ID: 9},
		&core.MemberPromote{ID: 9},
		&core.HashMark{ID: 4},
		&core.SetEnsemble{Session: core.SessionRef{ID: -7, Epoch: 2}, Servers: "server.1=a:1:2:participant\n", From: 9},
		&core.AuthEnable{},
		&core.AuthDisable{},
		&core.UserAdd{Name: "alice", Hash: []byte("$2a$10$"), NoPassword: true},
		&core.UserDelete{Name: "alice"},
		&core.UserChangePassword{Name: "alice", Hash: []byte("$2a$10$")},
		&core.UserGrantRole{User: "alice", Role: "ops"},
		&core.UserRevokeRole{User: "alice", Role: "ops"},
		&core.RoleAdd{Name: "ops"},
		&core.RoleDelete{Name: "ops"},
		&core.RoleGrantPermission{Role: "ops", Permission: core.Permission{Type: core.PermitReadWrite, Interval: core.Interval{Key: []byte("a"), End: core.FromKey}}},
		&core.RoleRevokePermission{Role: "ops", Interval: core.Interval{Key: []byte("a"), End: []byte("b")}},
		&core.TokenGrant{User: "alice", AuthRev: 5, Secret: core.SecretHash{0: 1, 31: 2}},
	}
}

// TestGolden holds the encoding still: bytes written by one version are read by
// every later one. The text is what the generated decoder makes of the bytes, so
// it also holds the framing by hand to the schema.
func TestGolden(t *testing.T) {
	datadriven.RunTest(t, "testdata/golden", func(t *testing.T, d *datadriven.TestData) string {
		var out strings.Builder
		switch d.Cmd {
		case "commands":
			for _, c := range examples() {
				b := AppendCommand(nil, c)
				var m commandpb.Command
				require.NoError(t, proto.Unmarshal(b, &m))
				fmt.Fprintf(&out, "%x\n  %s\n", b, stableText(&m))
			}
		case "entry":
			b := AppendEntry(nil, 1_700_000_000_000, exampleBatches())
			var m commandpb.Entry
			require.NoError(t, proto.Unmarshal(b, &m))
			fmt.Fprintf(&out, "%x\n  %s\n", b, stableText(&m))
		default:
			d.Fatalf(t, "unknown command %q", d.Cmd)
		}
		return out.String()
	})
}

// stableText is the text form without prototext's deliberate random spaces.
func stableText(m proto.Message) string {
	return strings.Join(strings.Fields(prototext.Format(m)), " ")
}

func exampleBatches() []Batch {
	var all [][]byte
	for _, c := range examples() {
		all = append(all, AppendCommand(nil, c))
	}
	return []Batch{
		{Member: 1, Incarnation: 2, Sequence: 3, Commands: all},
		{Member: 4, Commands: all[:1]},
	}
}

func TestRoundTrip(t *testing.T) {
	for _, c := range examples() {
		got, err := DecodeCommand(AppendCommand([]byte("before")[:0], c))
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(c, got, cmpopts.EquateEmpty()))
	}
	e, err := DecodeEntry(AppendEntry(nil, 5, exampleBatches()))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Entry{TimeMS: 5, Batches: exampleBatches()}, e))
}

func TestRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, 20)
		put := &core.Put{
			Key: key.Draw(t, "key"), Value: key.Draw(t, "value"), Lease: core.LeaseID(rapid.Int64().Draw(t, "lease")),
			PrevKV: rapid.Bool().Draw(t, "prev"), IgnoreLease: rapid.Bool().Draw(t, "ignore"),
		}
		b := AppendCommand(nil, put)
		var m commandpb.Command
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Fatalf("the generated decoder refuses it: %v", err)
		}
		if again, _ := (proto.MarshalOptions{Deterministic: true}).Marshal(&m); string(again) != string(b) {
			t.Fatalf("the generated encoder writes %x, we %x", again, b)
		}
		got, err := DecodeCommand(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(core.Command(put), got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// nest makes transactions nested to a depth.
func nest(depth int) *core.Txn {
	t := &core.Txn{}
	for range depth - 1 {
		t = &core.Txn{Else: []core.Op{{Txn: t}}}
	}
	return t
}

// TestTooDeep joins the check before proposing to the one at apply: what passes
// the first must pass the second, or an entry in the log ends every member.
func TestTooDeep(t *testing.T) {
	for _, depth := range []int{1, 129, MaxTxnDepth, MaxTxnDepth + 1} {
		txn := nest(depth)
		_, err := DecodeCommand(AppendCommand(nil, txn))
		require.Equal(t, TooDeep(txn), err != nil, "depth %d: %v", depth, err)
		require.Equal(t, depth > MaxTxnDepth, TooDeep(txn))
	}
}

func TestMalformed(t *testing.T) {
	deep := nest(MaxTxnDepth + 1)
	valid := AppendCommand(nil, &core.Put{Key: []byte("k")})
	opWithoutKind, err := (&commandpb.Command{Kind: &commandpb.Command_Txn{Txn: &commandpb.Txn{Then: []*commandpb.Op{{}}}}}).MarshalVT()
	require.NoError(t, err)
	for name, b := range map[string][]byte{
		"nothing":                 nil,
		"a lying length":          {0x0a, 0x7f},
		"an unknown kind":         {0xd2, 0x0f, 0x00},
		"a session's id of bytes": {0x52, 0x04, 0x0a, 0x02, 0x0a, 0x00},
		"an operation of varint":  {0x52, 0x02, 0x10, 0x01},
		"half an operation":       {0x52, 0x04, 0x12, 0x02, 0x12, 0x05},
		"half a session":          {0x52, 0x03, 0x0a, 0x01, 0x08},
		"a secret of one byte":    {0x5a, 0x03, 0x1a, 0x01, 0x00},
		"no secret to attach":     {0x62, 0x02, 0x08, 0x01},
		"a varint":                {0x08, 0x01},
		"bytes after it":          append(valid, 0),
		"nested too deep":         AppendCommand(nil, deep),
		"operation without kind":  opWithoutKind,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeCommand(b)
			require.ErrorIs(t, err, ErrMalformed)
		})
	}
	for name, text := range map[string]string{
		"a newer version":          "0802",
		"no version":               "1001",
		"an unknown field":         "08012001",
		"a batch that is a number": "08011801",
		"a time that is bytes":     "08011200",
		"half a batch":             "08011a05",
	} {
		t.Run(name, func(t *testing.T) {
			b, err := hex.DecodeString(text)
			require.NoError(t, err)
			_, err = DecodeEntry(b)
			require.ErrorIs(t, err, ErrMalformed)
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range examples() {
		f.Add(AppendCommand(nil, c))
	}
	f.Add(AppendEntry(nil, 5, exampleBatches()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeCommand(b); err == nil {
			again, err := DecodeCommand(AppendCommand(nil, c))
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(c, again, cmpopts.EquateEmpty()))
		}
		if e, err := DecodeEntry(b); err == nil {
			again, err := DecodeEntry(AppendEntry(nil, e.TimeMS, e.Batches))
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(e, again, cmpopts.EquateEmpty()))
		}
	})
}

func BenchmarkPut(b *testing.B) {
	put := &core.Put{Key: []byte("registry/pods/default/a-pod"), Value: make([]byte, 256)}
	encoded := AppendCommand(nil, put)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 512)
		for b.Loop() {
			buf = AppendCommand(buf[:0], put)
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

func TestWhoAsks(t *testing.T) {
	for _, who := range []core.Principal{
		{},
		{User: "alice", AuthRev: 7},
		{Member: true},
		{AuthRev: core.AnyAuthRev, IDs: core.Identities("").With("ip", "127.0.0.1").With("digest", "a:b")},
	} {
		for _, want := range examples() {
			got, asks, err := DecodeCommandAs(AppendCommandAs(nil, who, want))
			require.NoError(t, err)
			require.Equal(t, who, asks)
			require.Empty(t, cmp.Diff(want, got, cmpopts.EquateEmpty()))
		}
	}
	// A command of somebody is not one of nobody, and nobody asks in another's name.
	as := AppendCommandAs(nil, core.Principal{User: "alice"}, &core.Compact{Rev: 1})
	_, err := DecodeCommand(as)
	require.ErrorIs(t, err, ErrMalformed)
	_, _, err = DecodeCommandAs(append(AppendCommandAs(nil, core.Principal{User: "root"}, &core.Compact{Rev: 1})[:6:6], as...))
	require.ErrorIs(t, err, ErrMalformed)
}
