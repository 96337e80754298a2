package etcdfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rows is what a test file holds.
type rows struct {
	Versions []Version
	Meta     Meta
	Leases   []Lease
	Alarms   []Alarm
	Cluster  Cluster
	Members  []Member
	Auth     Auth
	Users    []User
	Roles    []Role
	Foreign  map[string]string
}

func sampleRows(n int) rows {
	r := rows{
		Meta:   Meta{Index: 9, Term: 2, ConfState: ConfState{Voters: []uint64{7}}, StorageVersion: "3.7.0", ScheduledCompact: 5, FinishedCompact: 4},
		Leases: []Lease{{ID: 1, TTL: 10}, {ID: 1 << 62, TTL: 100, RemainingTTL: 50}},
		Alarms: []Alarm{{Member: 7, Type: 1}}, Cluster: Cluster{Version: "3.7.0", Downgrade: "3.6.0"},
		Members: []Member{{ID: 7, PeerURLs: []string{"http://a:1"}, Name: "m"}},
		Auth:    Auth{Enabled: true, Revision: 12},
		Users:   []User{{Name: "alice", Password: []byte("hash"), Roles: []string{"r", "s"}}, {Name: "cert", NoPassword: true}},
		Roles:   []Role{{Name: "r", Permissions: []Permission{{Type: 2, Key: []byte("a"), RangeEnd: []byte{0}}, {Key: []byte("b")}}}},
		Foreign: map[string]string{"k": "v"},
	}
	for i := range int64(n) {
		v := Version{Main: 2 + i/2, Sub: i % 2, Key: fmt.Appendf(nil, "key%d", i%50), Tombstone: i%7 == 3}
		if !v.Tombstone {
			v.CreateRev, v.Version, v.Lease = 1+v.Main/2, i+1, i%3
			v.Value = bytes.Repeat([]byte{byte(i)}, int(i*37%9000))
		}
		r.Versions = append(r.Versions, v)
	}
	return r
}

// sampleFile is a file of so many versions, with a hash at its end.
func sampleFile(t testing.TB, r rows) []byte {
	path := filepath.Join(t.TempDir(), "db")
	w, err := Create(path)
	require.NoError(t, err)
	for i := range r.Versions {
		require.NoError(t, w.Version(&r.Versions[i]))
	}
	for i := range r.Leases {
		require.NoError(t, w.Lease(&r.Leases[i]))
	}
	for i := range r.Alarms {
		require.NoError(t, w.Alarm(&r.Alarms[i]))
	}
	for i := range r.Members {
		require.NoError(t, w.Member(&r.Members[i]))
	}
	for i := range r.Users {
		require.NoError(t, w.User(&r.Users[i]))
	}
	for i := range r.Roles {
		require.NoError(t, w.Role(&r.Roles[i]))
	}
	for _, k := range slices.Sorted(maps.Keys(r.Foreign)) {
		require.NoError(t, w.Foreign("triglotX", []byte(k), []byte(r.Foreign[k])))
	}
	require.NoError(t, w.Meta(&r.Meta))
	require.NoError(t, w.Cluster(&r.Cluster))
	require.NoError(t, w.Auth(&r.Auth))
	_, err = w.Close()
	require.NoError(t, err)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// readAll reads everything in a file.
func readAll(b []byte, h Hash) (rows, error) {
	f, err := NewReader(bytes.NewReader(b), int64(len(b)), h)
	if err != nil {
		return rows{}, err
	}
	r := rows{Foreign: map[string]string{}}
	for _, step := range []func() error{
		func() error {
			return f.Versions(func(v *Version) error {
				own := *v
				own.Key, own.Value = bytes.Clone(v.Key), bytes.Clone(v.Value)
				r.Versions = append(r.Versions, own)
				return nil
			})
		},
		func() error { return f.Leases(func(l *Lease) error { r.Leases = append(r.Leases, *l); return nil }) },
		func() error { return f.Alarms(func(a *Alarm) error { r.Alarms = append(r.Alarms, *a); return nil }) },
		func() error {
			return f.Members(func(m *Member) error { r.Members = append(r.Members, *m); return nil })
		},
		func() error { return f.Users(func(u *User) error { r.Users = append(r.Users, *u); return nil }) },
		func() error { return f.Roles(func(o *Role) error { r.Roles = append(r.Roles, *o); return nil }) },
		func() error {
			return f.Rows("triglotX", func(k, v []byte) error { r.Foreign[string(k)] = string(v); return nil })
		},
		func() (err error) { r.Meta, err = f.Meta(); return err },
		func() (err error) { r.Cluster, err = f.Cluster(); return err },
		func() (err error) { r.Auth, err = f.Auth(); return err },
		func() (err error) { _, err = f.LastRevision(); return err },
		func() (err error) { _, err = f.Status(); return err },
	} {
		if err := step(); err != nil {
			return rows{}, err
		}
	}
	return r, nil
}

func TestReaderReadsWhatWriterWrites(t *testing.T) {
	for _, n := range []int{0, 1, 3, 600} {
		want := sampleRows(n)
		b := sampleFile(t, want)
		got, err := readAll(b, HashRequired)
		require.NoError(t, err)
		for i := range want.Versions {
			require.True(t, bytes.Equal(want.Versions[i].Value, got.Versions[i].Value))
			want.Versions[i].Value, got.Versions[i].Value = nil, nil
		}
		require.Equal(t, want, got)
		f, err := NewReader(bytes.NewReader(b), int64(len(b)), HashRequired)
		require.NoError(t, err)
		last, err := f.LastRevision()
		require.NoError(t, err)
		if n > 0 {
			require.Equal(t, want.Versions[n-1].Main, last)
		}
		row, err := f.Row("triglotX", "k")
		require.NoError(t, err)
		require.Equal(t, "v", string(row))
		row, err = f.Row("triglotX", "none")
		require.NoError(t, err)
		require.Nil(t, row)
	}
}

// TestReaderTellsDamage: whatever is missing or changed, the reader ends with an error
// of one line, or with rows that decode; where there is a hash to compare, always with
// an error.
func TestReaderTellsDamage(t *testing.T) {
	good := sampleFile(t, sampleRows(60))
	check := func(b []byte, what string) {
		_, err := readAll(b, HashIgnored)
		if err != nil {
			require.NotContains(t, err.Error(), "\n", what)
		}
		_, err = readAll(b, HashRequired)
		require.Error(t, err, what)
	}
	for size := 0; size < len(good); size += 1 + size/100 {
		check(good[:size], fmt.Sprint("cut at ", size))
		if body := size &^ 4095; body > 0 && body < len(good)-32 {
			_, err := readAll(good[:body], HashIgnored)
			require.Error(t, err, "cut at page %d", body/4096)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 600 {
		b := bytes.Clone(good)
		for range 1 + rnd.IntN(3) {
			at := rnd.IntN(len(b))
			if rnd.IntN(2) == 0 {
				at = at&^4095 + rnd.IntN(64) // the heads of pages hurt most
			}
			b[min(at, len(b)-1)] ^= byte(1 + rnd.IntN(255))
		}
		if !bytes.Equal(b, good) {
			check(b, fmt.Sprint("change ", i))
		}
	}
}

func TestReaderRefusesWhatIsNoSnapshot(t *testing.T) {
	_, err := readAll(nil, HashIgnored)
	require.ErrorContains(t, err, "empty")
	_, err = readAll([]byte(strings.Repeat("x", 5000)), HashIgnored)
	require.ErrorContains(t, err, "not a database of etcd")
	_, err = readAll(sampleFile(t, rows{})[:8192], HashRequired)
	require.ErrorContains(t, err, "without a hash")
	bad := sampleFile(t, rows{})
	bad[len(bad)-1]++
	_, err = readAll(bad, HashRequired)
	require.ErrorContains(t, err, "its SHA-256 is")
	_, err = readAll(bad, HashIgnored)
	require.NoError(t, err)
}

// Every row that decodes is one that encodes to what means the same.
func FuzzDecodeRows(f *testing.F) {
	for _, v := range sampleRows(8).Versions {
		f.Add(v.AppendRevisionKey(nil), v.AppendKeyValue(nil))
	}
	f.Add(binary.BigEndian.AppendUint64(nil, 1), []byte{8, 1, 16, 10})
	f.Add([]byte("alice"), []byte("\x0a\x05alice\x12\x04hash\x1a\x01r\x22\x02\x08\x01"))
	f.Add([]byte("7"), []byte(`{"id":7}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if v, ok := decodeVersion(key, value); ok && len(v.Key) > 0 {
			require.Equal(t, key, v.AppendRevisionKey(nil))
			again, ok := decodeVersion(key, v.AppendKeyValue(nil))
			require.True(t, ok)
			require.Equal(t, v.Key, again.Key)
			require.Equal(t, v.CreateRev, again.CreateRev)
		}
		if l, ok := decodeLease(key, value); ok {
			again, ok := decodeLease(key, l.appendRow(nil))
			require.True(t, ok)
			require.Equal(t, l, again)
		}
		if u, ok := decodeUser(key, value); ok {
			again, ok := decodeUser(key, u.appendRow(nil))
			require.True(t, ok)
			require.Equal(t, u.Roles, again.Roles)
		}
		if r, ok := decodeRole(key, value); ok {
			_, ok = decodeRole(key, r.appendRow(nil))
			require.True(t, ok)
		}
		if m, ok := decodeMember(key, value); ok {
			require.NotNil(t, m)
		}
		_, _ = decodeAlarm(key)
		var meta Meta
		meta.set(string(key), value)
		var cluster Cluster
		cluster.set(string(key), value)
		var auth Auth
		auth.set(string(key), value)
	})
}

// Whatever a file is, reading it ends, and does not panic.
func FuzzReader(f *testing.F) {
	f.Add(sampleFile(f, sampleRows(3)))
	f.Add([]byte("not a database"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := readAll(b, HashIgnored); err != nil {
			require.NotContains(t, err.Error(), "\n")
		}
	})
}

func FuzzReadWAL(f *testing.F) {
	b, err := os.ReadFile("../../core/node/testdata/etcdutl/0000000000000000-0000000000000000.wal")
	require.NoError(f, err)
	wal, err := ReadWAL(bytes.NewReader(b))
	require.NoError(f, err)
	require.Len(f, wal.Founders, 1)
	require.Equal(f, wal.Member, wal.Founders[0].ID)
	require.Equal(f, []string{"http://127.0.0.1:2380"}, wal.Founders[0].PeerURLs)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if wal, err := ReadWAL(bytes.NewReader(b)); err == nil {
			require.NotEmpty(t, wal.Founders)
		}
	})
}
