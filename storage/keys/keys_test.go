package keys

import (
	"bytes"
	"cmp"
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2/cockroachkvs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// drawKey draws user keys that are close to each other and to the layout's own
// bytes.
func drawKey(t *rapid.T, label string) []byte {
	return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 8, 9, 13, 'a', 'b', 0xff}), 0, 12).Draw(t, label)
}

func drawRev(t *rapid.T, label string) core.Rev {
	return core.Rev(rapid.OneOf(rapid.Int64Range(1, 20), rapid.Int64Range(1, math.MaxInt64)).Draw(t, label))
}

// valid fails unless the engine's schema accepts the key.
func valid(t require.TestingT, key []byte) {
	require.NoError(t, cockroachkvs.Comparer.ValidateKey.Validate(key), "%x", key)
}

func TestVersionIsTheEnginesOwnEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, rev := drawKey(t, "key"), drawRev(t, "rev")
		got := AppendVersion(nil, key, rev)
		require.Equal(t, cockroachkvs.EncodeMVCCKey(nil, append([]byte{'d'}, key...), uint64(rev), 0), got)
		require.Len(t, got, VersionLen(len(key)))
		valid(t, got)

		prefix := AppendVersions(nil, key)
		require.Equal(t, len(prefix), cockroachkvs.Split(got))
		require.Equal(t, prefix, got[:len(prefix)])

		backKey, backRev, ok := DecodeVersion(got)
		require.True(t, ok)
		require.True(t, bytes.Equal(key, backKey))
		require.Equal(t, rev, backRev)
	})
}

func TestVersionOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawKey(t, "a"), drawKey(t, "b")
		ra, rb := drawRev(t, "rev a"), drawRev(t, "rev b")
		want := cmp.Or(bytes.Compare(a, b), cmp.Compare(rb, ra)) // newest first
		require.Equal(t, want, cockroachkvs.Compare(AppendVersion(nil, a, ra), AppendVersion(nil, b, rb)))
		// The key before all versions of b separates those of the keys before b.
		bound := cockroachkvs.Compare(AppendVersion(nil, a, ra), AppendVersions(nil, b))
		require.Equal(t, bytes.Compare(a, b) >= 0, bound > 0)
	})
}

func TestIntervalBoundsHoldJustTheInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		iv := core.Interval{Key: drawKey(t, "from")}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 1:
			iv.End = core.FromKey
		case 2:
			iv.End = append(drawKey(t, "end"), 'x')
		}
		lower, upper := IntervalBounds(iv)
		valid(t, lower)
		valid(t, upper)
		key, rev := drawKey(t, "key"), drawRev(t, "rev")
		row := AppendVersion(nil, key, rev)
		in := cockroachkvs.Compare(lower, row) <= 0 && cockroachkvs.Compare(row, upper) < 0
		require.Equal(t, iv.Contains(key), in, "%x in [%x, %x)", row, lower, upper)
	})
}

func TestChangeOrderAndBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ra, rb := drawRev(t, "rev a"), drawRev(t, "rev b")
		sa, sb := rapid.Uint32().Draw(t, "sub a"), rapid.Uint32().Draw(t, "sub b")
		a, b := AppendChange(nil, ra, sa), AppendChange(nil, rb, sb)
		require.Len(t, a, ChangeLen)
		valid(t, a)
		require.Equal(t, len(a), cockroachkvs.Split(a), "a change has no version")
		require.Equal(t, cmp.Or(cmp.Compare(ra, rb), cmp.Compare(sa, sb)), cockroachkvs.Compare(a, b))

		rev, sub, ok := DecodeChange(a)
		require.True(t, ok)
		require.Equal(t, ra, rev)
		require.Equal(t, sa, sub)

		from, to := min(rb, ra), max(rb, ra)
		lower, upper := ChangeBounds(from, to)
		inside := func(k []byte) bool {
			return cockroachkvs.Compare(lower, k) <= 0 && cockroachkvs.Compare(k, upper) < 0
		}
		require.Equal(t, from != to, inside(AppendChange(nil, from, sa)))
		require.False(t, inside(AppendChange(nil, to, sa)))
	})
}

func TestAttachmentsOfALease(t *testing.T) {
	ids := []core.LeaseID{math.MinInt64, -2, -1, 0, 1, 0x0900, math.MaxInt64}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(rapid.SampledFrom(ids), rapid.Custom(func(t *rapid.T) core.LeaseID {
			return core.LeaseID(rapid.Int64().Draw(t, "id"))
		})).Draw(t, "lease")
		other := rapid.SampledFrom(ids).Draw(t, "other")
		a, b := drawKey(t, "a"), drawKey(t, "b")

		row := AppendAttachment(nil, id, a)
		valid(t, row)
		require.Equal(t, len(row), cockroachkvs.Split(row), "an attachment has no version")
		backID, key, ok := DecodeAttachment(row)
		require.True(t, ok)
		require.Equal(t, id, backID)
		require.True(t, bytes.Equal(a, key))
		require.Equal(t, bytes.Compare(a, b), cockroachkvs.Compare(row, AppendAttachment(nil, id, b)))

		lower, upper := AttachmentBounds(id)
		theirs := AppendAttachment(nil, other, b)
		require.Equal(t, id == other, cockroachkvs.Compare(lower, theirs) <= 0 && cockroachkvs.Compare(theirs, upper) < 0)

		lease := AppendLease(nil, id)
		valid(t, lease)
		backID, ok = DecodeLease(lease)
		require.True(t, ok)
		require.Equal(t, id, backID)
	})
}

// The bounds of each table hold its rows and no other's.
func TestTablesAreApart(t *testing.T) {
	bounds := func(lower, upper []byte) [2][]byte { return [2][]byte{lower, upper} }
	tables := map[string]struct {
		bounds [2][]byte
		rows   [][]byte
	}{
		"d": {bounds(VersionBounds()), [][]byte{AppendVersion(nil, nil, 1), AppendVersion(nil, []byte{0xff, 0xff}, math.MaxInt64)}},
		"r": {bounds(ChangeBounds(0, 0)), [][]byte{AppendChange(nil, 1, 0), AppendChange(nil, math.MaxInt64, math.MaxUint32)}},
		"L": {bounds(LeaseBounds()), [][]byte{AppendLease(nil, 0), AppendLease(nil, -1)}},
		"k": {bounds(AttachmentBounds(-1)), [][]byte{AppendAttachment(nil, -1, nil), AppendAttachment(nil, -1, []byte{0xff})}},
		"a": {bounds(AuthBounds()), [][]byte{AppendAuth(nil, AuthSwitch, ""), AppendAuth(nil, AuthUser, "\xff")}},
		"m": {bounds(MetaBounds()), [][]byte{AppendMeta(nil, MetaApplied), AppendMeta(nil, MetaCompacted)}},
	}
	for name, table := range tables {
		valid(t, table.bounds[0])
		valid(t, table.bounds[1])
		for other, o := range tables {
			for _, row := range o.rows {
				valid(t, row)
				in := cockroachkvs.Compare(table.bounds[0], row) <= 0 && cockroachkvs.Compare(row, table.bounds[1]) < 0
				require.Equal(t, name == other, in, "%x in table %s", row, name)
			}
		}
	}
}

func TestMetaRoundTrip(t *testing.T) {
	name, ok := DecodeMeta(AppendMeta(nil, MetaCollected))
	require.True(t, ok)
	require.Equal(t, MetaCollected, name)
	_, ok = DecodeMeta([]byte("m"))
	require.False(t, ok)
	_, ok = DecodeMeta([]byte("mx"))
	require.False(t, ok)
}

// No two tables share a tag, the reserved ones included.
func TestTagsAreDistinct(t *testing.T) {
	seen := make(map[byte]bool)
	for _, tag := range []byte{tagVersion, tagChange, tagLease, tagAttachment, tagMeta, tagZnode, tagZnodeIndex, tagACL, tagAuth} {
		require.False(t, seen[tag], "tag %c", tag)
		seen[tag] = true
	}
}

// Whatever bytes come from the disk, decoding says yes only to what encoding
// makes, and agrees with the engine on where the version begins.
func FuzzDecode(f *testing.F) {
	f.Add(AppendVersion(nil, []byte("key"), 7))
	f.Add(AppendChange(nil, 1<<40, 3))
	f.Add(AppendLease(nil, -1))
	f.Add(AppendAttachment(nil, 1, []byte("a\x00b")))
	f.Add(AppendMeta(nil, MetaApplied))
	f.Add([]byte{'d'})
	f.Add([]byte{'d', 0})
	f.Add([]byte("d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, rev, ok := DecodeVersion(b); ok {
			require.Equal(t, b, AppendVersion(nil, key, rev))
			valid(t, b)
			wall, logical, err := cockroachkvs.DecodeMVCCTimestampSuffix(b[cockroachkvs.Split(b):])
			require.NoError(t, err)
			require.Equal(t, uint64(rev), wall)
			require.Zero(t, logical)
		}
		if rev, sub, ok := DecodeChange(b); ok {
			require.Equal(t, b, AppendChange(nil, rev, sub))
			valid(t, b)
		}
		if id, ok := DecodeLease(b); ok {
			require.Equal(t, b, AppendLease(nil, id))
			valid(t, b)
		}
		if id, key, ok := DecodeAttachment(b); ok {
			require.Equal(t, b, AppendAttachment(nil, id, key))
			valid(t, b)
		}
		if name, ok := DecodeMeta(b); ok {
			require.Equal(t, b, AppendMeta(nil, name))
			valid(t, b)
		}
	})
}
