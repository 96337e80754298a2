package etcdfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// TestRowsAreEtcds compares the rows with what etcd's own code makes of the same.
func TestRowsAreEtcds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes := rapid.SliceOfN(rapid.Byte(), 0, 200)
		v := Version{
			Main: rapid.Int64Min(1).Draw(t, "main"), Sub: rapid.Int64Min(0).Draw(t, "sub"),
			Key: bytes.Draw(t, "key"), Value: bytes.Draw(t, "value"),
			CreateRev: rapid.Int64Min(1).Draw(t, "create"), Version: rapid.Int64Min(1).Draw(t, "version"),
			Lease: rapid.Int64().Draw(t, "lease"),
		}
		requireSameMessage(t, &mvccpb.KeyValue{
			Key: v.Key, CreateRevision: v.CreateRev, ModRevision: v.Main, Version: v.Version, Value: v.Value, Lease: v.Lease,
		}, v.AppendKeyValue(nil))
		v.Tombstone = true
		requireSameMessage(t, &mvccpb.KeyValue{Key: v.Key}, v.AppendKeyValue(nil))

		a := Alarm{Member: rapid.Uint64().Draw(t, "member"), Type: rapid.Int32Range(0, 2).Draw(t, "alarm")}
		requireSameMessage(t, &pb.AlarmMember{MemberID: a.Member, Alarm: pb.AlarmType(a.Type)}, a.appendRow(nil))

		u := User{
			Name: rapid.String().Draw(t, "user"), Password: bytes.Draw(t, "hash"),
			Roles: rapid.SliceOf(rapid.String()).Draw(t, "roles"), NoPassword: rapid.Bool().Draw(t, "no password"),
		}
		requireSameMessage(t, &authpb.User{
			Name: []byte(u.Name), Password: u.Password, Roles: u.Roles, Options: &authpb.UserAddOptions{NoPassword: u.NoPassword},
		}, u.appendRow(nil))

		p := Permission{Type: rapid.Int32Range(0, 2).Draw(t, "type"), Key: bytes.Draw(t, "from"), RangeEnd: bytes.Draw(t, "to")}
		r := Role{Name: rapid.String().Draw(t, "role"), Permissions: []Permission{p, {}}}
		requireSameMessage(t, &authpb.Role{Name: []byte(r.Name), KeyPermission: []*authpb.Permission{
			{PermType: authpb.Permission_Type(p.Type), Key: p.Key, RangeEnd: p.RangeEnd}, {},
		}}, r.appendRow(nil))
	})
}

func requireSameMessage(t require.TestingT, want proto.Message, got []byte) {
	decoded := want.ProtoReflect().New().Interface()
	require.NoError(t, proto.Unmarshal(got, decoded))
	require.True(t, proto.Equal(want, decoded), "%v is not %v", decoded, want)
}

func TestRevisionKeys(t *testing.T) {
	put := Version{Main: 0x0102, Sub: 3}
	require.Equal(t, "\x00\x00\x00\x00\x00\x00\x01\x02_\x00\x00\x00\x00\x00\x00\x00\x03", string(put.AppendRevisionKey(nil)))
	put.Tombstone = true
	require.Equal(t, "\x00\x00\x00\x00\x00\x00\x01\x02_\x00\x00\x00\x00\x00\x00\x00\x03t", string(put.AppendRevisionKey(nil)))
}

// TestJSONIsEtcds compares the JSON rows with those of etcd's types.
func TestJSONIsEtcds(t *testing.T) {
	no := false
	want, err := json.Marshal(&raftpb.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{3}, AutoLeave: &no})
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(mustJSON(ConfState{Voters: []uint64{1, 2}, Learners: []uint64{3}, AutoLeave: &no})))
	require.JSONEq(t, `{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"default","clientURLs":["http://localhost:2379"]}`,
		string(mustJSON(Member{ID: 0x8e9e05c52164694d, PeerURLs: []string{"http://localhost:2380"}, Name: "default", ClientURLs: []string{"http://localhost:2379"}})))
	require.JSONEq(t, `{"target-version":"3.6.0","enabled":true}`, string((&Cluster{Downgrade: "3.6.0"}).downgradeRow()))
	require.JSONEq(t, `{"target-version":"","enabled":false}`, string((&Cluster{}).downgradeRow()))
	require.Equal(t, "8e9e05c52164694d", string(memberKey(0x8e9e05c52164694d)))
}

// TestWrittenFile writes a tree of several levels and looks at it with bbolt.
func TestWrittenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	w, err := Create(path)
	require.NoError(t, err)
	const rows = 20_000
	value := make([]byte, 500)
	for i := range int64(rows) {
		require.NoError(t, w.Version(&Version{Main: i + 2, Key: fmt.Appendf(nil, "key %d", i), Value: value, CreateRev: i + 2, Version: 1}))
		require.NoError(t, w.Foreign("triglotTest", fmt.Appendf(nil, "%08d", i), []byte{1}))
	}
	require.NoError(t, w.Lease(&Lease{ID: -1, TTL: 5}))
	require.NoError(t, w.Meta(&Meta{Index: 7, Term: 2, StorageVersion: "3.7.0", ScheduledCompact: 5, FinishedCompact: 5}))
	require.ErrorContains(t, w.Foreign("key", nil, nil), "triglot")
	size, err := w.Close()
	require.NoError(t, err)

	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, size, info.Size())
	require.Zero(t, size%512)
	require.Less(t, size, int64(rows*700), "the pages are filled")

	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			require.NoError(t, err)
		}
		for _, name := range buckets {
			require.NotNil(t, tx.Bucket([]byte(name)), name)
		}
		require.Equal(t, rows, tx.Bucket([]byte("key")).Stats().KeyN)
		require.Equal(t, rows, tx.Bucket([]byte("triglotTest")).Stats().KeyN)
		meta := tx.Bucket([]byte("meta"))
		require.Equal(t, "\x00\x00\x00\x00\x00\x00\x00\x07", string(meta.Get([]byte("consistent_index"))))
		require.Equal(t, "\x00\x00\x00\x00\x00\x00\x00\x05_\x00\x00\x00\x00\x00\x00\x00\x00", string(meta.Get([]byte("finishedCompactRev"))))
		require.Len(t, tx.Bucket([]byte("lease")).Get([]byte("\xff\xff\xff\xff\xff\xff\xff\xff")), 1+10+1+1)
		return nil
	}))
}

// TestBboltGoesOn writes rows of all sizes, in two buckets by turns: bbolt finds each, finds
// nothing wrong, and goes on with the file: it takes most rows away, as a compaction of etcd
// does, which is where it insists on how many children a page has.
func TestBboltGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "etcdfile-") //nolint:usetesting // a rapid.T has none
		require.NoError(t, err)
		defer func() { require.NoError(t, os.RemoveAll(dir)) }()
		path := filepath.Join(dir, "db")
		names := []string{"triglotA", "triglotB"}
		rows := drawRows(t, names)
		writeRows(t, path, names, rows)

		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		requireRows(t, db, rows)
		for range 3 {
			from, keep := rapid.IntRange(0, 500).Draw(t, "from"), rapid.IntRange(1, 50).Draw(t, "keep")
			require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
				for name, all := range rows {
					n := 0
					for _, key := range slices.Sorted(maps.Keys(all)) {
						if n++; n < from || n%keep == 0 {
							continue
						}
						require.NoError(t, tx.Bucket([]byte(name)).Delete([]byte(key)))
						delete(all, key)
					}
				}
				return nil
			}))
			requireRows(t, db, rows)
		}
	})
}

// drawRows draws how many rows of about which size there are; of one size, they fill pages
// to the last byte now and then.
func drawRows(t *rapid.T, buckets []string) map[string]map[string]string {
	rows := map[string]map[string]string{}
	for _, name := range buckets {
		rows[name] = map[string]string{}
		count := rapid.SampledFrom([]int{0, 1, 2, 3, 100, 3000}).Draw(t, "rows")
		key := rapid.SampledFrom([]int{8, 17, 100, 1300, 4000, 5000}).Draw(t, "key")
		value := rapid.SampledFrom([]int{0, 8, 300, 2030, 4100, 20_000}).Draw(t, "value")
		if key+value > 1000 {
			count = min(count, 300)
		}
		jitter := rapid.IntRange(0, 40).Draw(t, "jitter")
		for i := range count {
			k := fmt.Sprintf("%08d%s", i, strings.Repeat("k", key-8+i%(jitter+1)))
			rows[name][k] = strings.Repeat("v", value+i%(jitter+1))
		}
	}
	return rows
}

func writeRows(t *rapid.T, path string, names []string, rows map[string]map[string]string) {
	w, err := Create(path)
	require.NoError(t, err)
	require.NoError(t, w.Meta(&Meta{Index: 7, Term: 2, StorageVersion: "3.7.0"}))
	first, second := slices.Sorted(maps.Keys(rows[names[0]])), slices.Sorted(maps.Keys(rows[names[1]]))
	for i := range max(len(first), len(second)) {
		for at, keys := range [][]string{first, second} {
			if i < len(keys) {
				require.NoError(t, w.Foreign(names[at], []byte(keys[i]), []byte(rows[names[at]][keys[i]])))
			}
		}
	}
	for _, name := range names {
		require.NoError(t, w.MakeBucket(name))
	}
	size, err := w.Close()
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, size, info.Size())
}

func requireRows(t *rapid.T, db *bbolt.DB, rows map[string]map[string]string) {
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			require.NoError(t, err)
		}
		for name, all := range rows {
			seen := 0
			require.NoError(t, tx.Bucket([]byte(name)).ForEach(func(k, v []byte) error {
				seen++
				want, ok := all[string(k)]
				require.True(t, ok && want == string(v))
				return nil
			}))
			require.Equal(t, len(all), seen)
			for key, want := range all {
				require.Equal(t, want, string(tx.Bucket([]byte(name)).Get([]byte(key))))
			}
		}
		return nil
	}))
}

// What is not in order, or bbolt would not take, is refused.
func TestWriterRefuses(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "db"))
	require.NoError(t, err)
	require.NoError(t, w.Foreign("triglotA", []byte("b"), nil))
	require.ErrorIs(t, w.Foreign("triglotA", []byte("b"), nil), errOrder)
	require.ErrorIs(t, w.Foreign("triglotA", []byte("a"), nil), errOrder)
	require.Error(t, w.Foreign("triglotB", nil, nil))
	require.Error(t, w.Foreign("triglotB", make([]byte, maxKey+1), nil))
	require.NoError(t, w.Foreign("triglotB", make([]byte, maxKey), nil))
	require.Error(t, w.MakeBucket("key"))
	require.NoError(t, w.Abort())
}

// BenchmarkWriter writes a version of 256 bytes.
func BenchmarkWriter(b *testing.B) {
	w, err := Create(filepath.Join(b.TempDir(), "db"))
	require.NoError(b, err)
	v := Version{Key: []byte("a key of some bytes"), Value: make([]byte, 256), CreateRev: 2, Version: 1}
	b.ReportAllocs()
	for b.Loop() {
		v.Main++
		if err := w.Version(&v); err != nil {
			b.Fatal(err)
		}
	}
	_, err = w.Close()
	require.NoError(b, err)
}

func TestAbortLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, "db"))
	require.NoError(t, err)
	require.NoError(t, w.Version(&Version{Main: 2, Key: []byte("a"), CreateRev: 2, Version: 1}))
	_, err = Create(filepath.Join(dir, "db"))
	require.ErrorIs(t, err, os.ErrExist)
	require.NoError(t, w.Abort())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
