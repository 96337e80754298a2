package znode

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

func drawNode(t *rapid.T) node {
	n := node{
		kind:     core.ZnodeKind(rapid.IntRange(0, 3).Draw(t, "kind")),
		null:     rapid.Bool().Draw(t, "null"),
		implicit: rapid.Bool().Draw(t, "implicit"),
		pinned:   rapid.Bool().Draw(t, "pinned"),
		own:      rapid.Bool().Draw(t, "own"),
		acl:      core.ZnodeACL(rapid.Uint32().Draw(t, "acl")),
		creates:  rapid.Int32().Draw(t, "creates"),
		children: rapid.Int32Min(0).Draw(t, "children"),
		aversion: rapid.Int32().Draw(t, "aversion"),
		ctime:    rapid.Int64().Draw(t, "ctime"),
		pzxid:    core.Rev(rapid.Int64().Draw(t, "pzxid")),
	}
	if n.own || n.implicit {
		n.czxid, n.base = core.Rev(rapid.Int64().Draw(t, "czxid")), rapid.Int32().Draw(t, "base")
	}
	if n.implicit {
		n.own, n.servers = false, rapid.StringN(0, 5, -1).Draw(t, "servers")
		n.mzxid, n.mtime = core.Rev(rapid.Int64().Draw(t, "mzxid")), rapid.Int64().Draw(t, "mtime")
	}
	if n.kind == core.ZnodeTTL {
		n.ttl = rapid.Int64().Draw(t, "ttl")
	}
	if n.used.counted = rapid.Bool().Draw(t, "counted"); n.used.counted {
		n.used.count, n.used.bytes = rapid.Int64().Draw(t, "count"), rapid.Int64().Draw(t, "bytes")
		if n.used.counting = rapid.Bool().Draw(t, "counting"); n.used.counting {
			n.used.at = rapid.String().Draw(t, "at")
		}
	}
	return n
}

func TestRowsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNode(t)
		b := n.append([]byte("front"))
		got, err := decodeNode(b[len("front"):])
		require.NoError(t, err)
		require.Equal(t, n, got)

		cut := rapid.IntRange(5, len(b)-1).Draw(t, "cut")
		_, err = decodeNode(b[5:cut])
		require.Error(t, err)
		_, err = decodeNode(append(b[5:], 0))
		require.ErrorContains(t, err, "malformed znode row")
	})
}

// FuzzRow: no row makes the decoder panic, and what it accepts has one meaning.
func FuzzRow(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{0xff})
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0})
	n := node{pzxid: 7, ctime: 1 << 40, past: past{mtime: 1<<40 + 5}}
	f.Add(n.append(nil))
	n.implicit, n.pinned, n.base, n.czxid = true, true, -7, 5
	f.Add(n.append(nil))
	n.kind, n.ttl, n.used = core.ZnodeTTL, 1000, usage{counted: true, count: 2, bytes: 30}
	f.Add(n.append(nil))
	n.servers = "server.1=a:1:2:participant\n"
	f.Add(n.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeNode(b)
		if err != nil {
			return
		}
		again, err := decodeNode(n.append(nil))
		require.NoError(t, err)
		require.Equal(t, n, again)
	})
}

// TestVersionsWrap: versions are int32 and skip the one that matches any, whatever
// they are made of (ZOOKEEPER-4743).
func TestVersionsWrap(t *testing.T) {
	require.EqualValues(t, math.MinInt32, nextVersion(math.MaxInt32))
	require.EqualValues(t, 0, nextVersion(-2))

	// A key is written again and again: just before, at and after the gap.
	kv := core.KV{CreateRev: 3, ModRev: 9, Version: math.MaxUint32 - 1} // its znode's version is -3
	var n node
	for _, want := range []int32{-2, 0, 1, 2} {
		prev := kv
		kv.Version++
		n.become(&prev)
		require.Equal(t, want, n.version(&kv))
		require.EqualValues(t, 3, n.created(&kv))
	}

	// The same of one that is demoted, and comes back.
	n = node{own: true, past: past{czxid: 2, base: -4}}
	kv.Version = 3 // -2
	n.demote(&kv, 10, false)
	require.EqualValues(t, 0, n.version(nil))
	n.base = -2
	n.become(nil)
	kv.Version = 1
	require.EqualValues(t, 0, n.version(&kv))
	require.EqualValues(t, 2, n.created(&kv))
}

func TestCounts(t *testing.T) {
	c := counters{ZnodeCounts: core.ZnodeCounts{Znodes: 5, Ephemerals: 2, Bytes: 44}, rowBytes: 300, restricted: 3, quotas: 1}
	row := appendCounts(nil, c)
	got, err := decodeCounts(row)
	require.NoError(t, err)
	require.Equal(t, c, got)
	c.restricted, c.quotas = unknown, unknown
	got, err = decodeCounts(row[:32]) // of a store that had no index
	require.NoError(t, err)
	require.Equal(t, c, got)
	c.rowBytes = unknown
	got, err = decodeCounts(row[:24]) // of one that did not keep the size of its rows
	require.NoError(t, err)
	require.Equal(t, c, got)
	_, err = decodeCounts(nil)
	require.ErrorContains(t, err, "malformed")
}

func TestNumbered(t *testing.T) {
	for number, want := range map[int32]string{
		0: "/n0000000000", 42: "/n0000000042", math.MaxInt32: "/n2147483647", math.MinInt32: "/n-2147483648", -5: "/n-000000005",
	} {
		require.Equal(t, want, numbered("/n", number))
	}
}
