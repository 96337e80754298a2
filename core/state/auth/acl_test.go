package auth

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// GetRow makes memRows an ACLRows.
func (m memRows) GetRow(key []byte) ([]byte, error) {
	if v, ok := m[string(key)]; ok {
		return slices.Concat([]byte{}, v), nil
	}
	return nil, nil
}

// A1, A4: who is allowed what by which entry.
func TestAllows(t *testing.T) {
	const cdrwa, r, w = core.PermAll, core.PermRead, core.PermWrite
	ids := core.Identities("").With("ip", "10.1.2.3").With("digest", "alice:hash").With("x509", "CN=a, O=b")
	v6 := core.Identities("").With("ip", "2001:db8::7")
	for _, c := range []struct {
		perms      core.Perms
		scheme, id string
		ids        core.Identities
		need       core.Perms
		want       bool
	}{
		{cdrwa, "world", "anyone", "", r, true},
		{cdrwa, "world", "someone", ids, r, false},
		{r, "world", "anyone", ids, w, false},
		{r, "world", "anyone", ids, w | r, true}, // some of it is enough
		{0, "world", "anyone", ids, r, false},
		{0, "world", "anyone", ids, 0, true},
		{0, "world", "anyone", core.Identities("").With("super", "x"), cdrwa, true},
		{cdrwa, "digest", "alice:hash", ids, r, true},
		{cdrwa, "digest", "alice:other", ids, r, false},
		{cdrwa, "sasl", "alice:hash", ids, r, false},
		{cdrwa, "x509", "CN=a, O=b", ids, r, true},
		{cdrwa, "ip", "10.1.2.3", ids, r, true},
		{cdrwa, "ip", "10.1.2.4", ids, r, false},
		{cdrwa, "ip", "10.1.9.9/16", ids, r, true},
		{cdrwa, "ip", "10.2.0.0/16", ids, r, false},
		{cdrwa, "ip", "0.0.0.0/0", ids, r, true},
		{cdrwa, "ip", "10.1.2.0/33", ids, r, false},
		{cdrwa, "ip", "10.1.2.0/x", ids, r, false},
		{cdrwa, "ip", "nonsense", ids, r, false},
		{cdrwa, "ip", "0.0.0.0/0", v6, r, false},
		{cdrwa, "ip", "2001:db8::/32", v6, r, true},
		{cdrwa, "ip", "2001:db9::/32", v6, r, false},
		{cdrwa, "ip", "2001:DB8:0:0::7", v6, r, true},
		{cdrwa, "ip", "10.1.2.3", core.Identities("").With("ip", "::ffff:10.1.2.3"), r, true},
		{cdrwa, "digest", "10.1.2.3", ids, r, false},
	} {
		acl := core.PackACL(core.ACLEntry{Perms: core.PermWrite, Scheme: "digest", ID: "nobody:x"},
			core.ACLEntry{Perms: c.perms, Scheme: c.scheme, ID: c.id})
		many := c.ids
		for i := range fewIdentities {
			many = many.With("digest", "many:"+strconv.Itoa(i))
		}
		for _, ids := range []core.Identities{c.ids, many} {
			got, err := Allows(acl, ids, c.need)
			require.NoError(t, err)
			require.Equal(t, c.want, got, "%+v %q", c, ids)
		}
	}
	_, err := Allows("\x01\x09", ids, r)
	require.Error(t, err)
}

// BenchmarkAllows is what the longest list costs that forbids, whoever asks.
func BenchmarkAllows(b *testing.B) {
	list := func(scheme string, id func(i int) string) core.ACL {
		var entries []core.ACLEntry
		for i, size := 0, 0; size < core.MaxACL-100; i++ {
			entries = append(entries, core.ACLEntry{Perms: core.PermAll, Scheme: scheme, ID: id(i)})
			size += len(scheme) + len(id(i)) + 3
		}
		return core.PackACL(entries...)
	}
	few, many := core.Identities("").With("ip", "10.1.2.3"), core.Identities("").With("ip", "10.1.2.3")
	for i := range 200 {
		many = many.With("digest", "user:hashhashhashhashhashhash"+strconv.Itoa(i))
	}
	for name, acl := range map[string]core.ACL{
		"ip":     list("ip", func(i int) string { return "10.2." + strconv.Itoa(i/250%250) + "." + strconv.Itoa(i%250) }),
		"digest": list("digest", func(i int) string { return "u:" + strconv.Itoa(i) }),
	} {
		for who, ids := range map[string]core.Identities{"few": few, "many": many} {
			b.Run(name+"/"+who, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					ok, err := Allows(acl, ids, core.PermRead)
					require.NoError(b, err)
					require.False(b, ok)
				}
			})
		}
	}
}

func aclOf(id string) core.ACL {
	return core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: id})
}

func TestACLs(t *testing.T) {
	rows := memRows{}
	table := NewACLs(rows)
	for id, acl := range map[core.ZnodeACL]core.ACL{core.ACLOpen: openACL, core.ACLReadOnly: readOnlyACL} {
		got, err := table.Intern(acl)
		require.NoError(t, err)
		require.Equal(t, id, got)
	}
	require.NoError(t, table.Hold(core.ACLOpen))
	require.NoError(t, table.Release(core.ACLOpen, 5))
	require.Empty(t, rows, "what every store has costs nothing")
	require.NoError(t, table.Hold(core.ACLReadOnly))
	lists, err := table.Lists()
	require.NoError(t, err)
	require.EqualValues(t, 1, lists, "it forbids something all the same")
	require.NoError(t, table.Release(core.ACLReadOnly, 5))
	require.NoError(t, table.Compact(6))
	a, err := table.Intern(aclOf("a"))
	require.NoError(t, err)
	require.Equal(t, core.FirstACL, a)
	require.NoError(t, table.Hold(a))
	again, err := table.Intern(aclOf("a"))
	require.NoError(t, err)
	require.Equal(t, a, again)
	b, err := table.Intern(aclOf("b"))
	require.NoError(t, err)
	require.NotEqual(t, a, b)
	require.NoError(t, table.Hold(b))

	ok, err := table.Allows(a, core.Identities("").With("digest", "a"), core.PermRead)
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = table.Allows(99, core.Identities("").With("digest", "a"), core.PermRead)
	require.NoError(t, err)
	require.False(t, ok)

	require.NoError(t, table.Release(a, 10))
	require.NoError(t, table.Compact(10))
	_, err = table.Get(a)
	require.NoError(t, err, "a tombstone of revision 10 is still shown")
	require.NoError(t, table.Compact(11))
	_, err = table.Get(a)
	require.Error(t, err)
	require.Error(t, table.Release(a, 12))
	_, err = table.Get(b)
	require.NoError(t, err)
	again, err = table.Intern(aclOf("a"))
	require.NoError(t, err)
	require.Greater(t, again, b, "numbers are not given again")
}

// A list is there as long as something holds it, or history may show it, and no row of
// it stays afterwards.
func TestACLsKeepWhatIsHeld(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := memRows{}
		table := NewACLs(rows)
		type held struct {
			holds int
			since core.Rev
			id    core.ZnodeACL
		}
		model := map[string]*held{}
		names := rapid.SampledFrom([]string{"a", "b", "c"})
		var rev core.Rev = 1
		rt.Repeat(map[string]func(*rapid.T){
			"hold": func(rt *rapid.T) {
				name := names.Draw(rt, "acl")
				id, err := table.Intern(aclOf(name))
				require.NoError(rt, err)
				require.NoError(rt, table.Hold(id))
				if m := model[name]; m != nil {
					require.Equal(rt, m.id, id)
					m.holds++
				} else {
					model[name] = &held{holds: 1, id: id}
				}
			},
			"release": func(rt *rapid.T) {
				m := model[names.Draw(rt, "acl")]
				if m == nil || m.holds == 0 {
					return
				}
				rev++
				m.holds--
				m.since = rev
				require.NoError(rt, table.Release(m.id, rev))
			},
			"compact": func(rt *rapid.T) {
				at := core.Rev(rapid.Int64Range(1, int64(rev)+1).Draw(rt, "rev"))
				require.NoError(rt, table.Compact(at))
				maps.DeleteFunc(model, func(_ string, m *held) bool { return m.holds == 0 && m.since < at })
			},
			"": func(rt *rapid.T) {
				unused := 0
				for name, m := range model {
					acl, err := table.Get(m.id)
					require.NoError(rt, err)
					require.Equal(rt, aclOf(name), acl)
					if m.holds == 0 {
						unused++
					}
				}
				lists, err := table.Lists()
				require.NoError(rt, err)
				require.EqualValues(rt, len(model), lists)
				require.Len(rt, rows, 3*len(model)+unused+min(len(rows), 1))
			},
		})
	})
}

// A compaction that finds a great many lists unused gives up some. What it leaves goes as
// others are made, or with the next compaction.
func TestACLsAreGivenUpBitByBit(t *testing.T) {
	const behind = 5
	rows := memRows{}
	table := NewACLs(rows)
	lists := func() int64 {
		t.Helper()
		n, err := NewACLs(rows).Lists()
		require.NoError(t, err)
		cached, err := table.Lists()
		require.NoError(t, err)
		require.Equal(t, n, cached)
		return n
	}
	add := func(name string) core.ZnodeACL {
		id, err := table.Intern(aclOf(name))
		require.NoError(t, err)
		require.NoError(t, table.Hold(id))
		return id
	}
	for i := range freedByCompaction + behind {
		require.NoError(t, table.Release(add(strconv.Itoa(i)), 7))
	}
	require.NoError(t, table.Compact(7))
	require.EqualValues(t, freedByCompaction+behind, lists())
	require.NoError(t, table.Compact(8))
	require.EqualValues(t, behind, lists())
	table = NewACLs(rows) // it is all in the rows
	held := add("a")
	require.EqualValues(t, behind-freedByOne+1, lists())
	require.NoError(t, table.Release(held, 8))
	add("b")
	add("c")
	require.EqualValues(t, 3, lists(), "what is not to be given up yet stays")
	add("d")
	require.EqualValues(t, 4, lists())
	require.NoError(t, table.Compact(9))
	require.EqualValues(t, 3, lists())
	require.Len(t, rows, 3*3+1)
}

func TestIdentities(t *testing.T) {
	rows := memRows{}
	s := Empty()
	for _, cmd := range []core.Command{
		&core.UserAdd{Name: "root", NoPassword: true}, &core.UserAdd{Name: "alice", NoPassword: true},
		&core.UserGrantRole{User: "root", Role: "root"},
	} {
		var err error
		s, err = s.Apply(cmd, rows)
		require.NoError(t, err)
	}
	ip := core.Identities("").With("ip", "::1")
	require.True(t, s.Identities(core.Principal{Member: true}).Super())
	require.Equal(t, ip, s.Identities(core.Principal{User: "root", IDs: ip}), "while authentication is off")
	s, err := s.Apply(&core.AuthEnable{}, rows)
	require.NoError(t, err)
	require.True(t, s.Identities(core.Principal{User: "root", IDs: ip}).Super())
	require.Equal(t, ip.With(core.SchemeEtcd, "alice"), s.Identities(core.Principal{User: "alice", IDs: ip}))
	require.Equal(t, ip, s.Identities(core.Principal{IDs: ip}))
}
