package auth

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// smallKeys are the keys of the model, in order: all of two letters or fewer of an
// alphabet that has the byte that means "no end", too.
func smallKeys() [][]byte {
	alphabet := []byte{0, 'a', 'b'}
	var all [][]byte
	for _, a := range alphabet {
		all = append(all, []byte{a})
		for _, b := range alphabet {
			all = append(all, []byte{a, b})
		}
	}
	return all
}

func drawKey(t *rapid.T, label string) []byte {
	return rapid.SampledFrom(smallKeys()).Draw(t, label)
}

func drawInterval(t *rapid.T, label string) core.Interval {
	in := core.Interval{Key: drawKey(t, label+" key")}
	switch rapid.IntRange(0, 3).Draw(t, label+" end") {
	case 0:
	case 1:
		in.End = core.FromKey
	default:
		in.End = drawKey(t, label+" end key")
	}
	return in
}

func keysIn(in core.Interval) (keys [][]byte) {
	for _, key := range append(smallKeys(), []byte("bbb"), []byte("c")) { // beyond what an interval ends with
		if in.Contains(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// TestUnionCovers holds unions against the keys themselves: what is asked for is
// covered if and only if each key of it is in one of the intervals.
func TestUnionCovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var spans []span
		var parts []core.Interval
		for range rapid.IntRange(0, 5).Draw(t, "parts") {
			if in := drawInterval(t, "part"); len(keysIn(in)) > 0 { // others cannot be granted
				parts, spans = append(parts, in), append(spans, spanOf(in))
			}
		}
		u := unionOf(spans)
		for i := 1; i < len(u); i++ {
			require.True(t, u[i-1].endsBefore(u[i].from), "%q", u)
		}
		asked := drawInterval(t, "asked")
		keys := keysIn(asked)
		if len(keys) == 0 {
			keys = [][]byte{asked.Key}
		}
		want := true
		for _, key := range keys {
			in := false
			for _, part := range parts {
				in = in || part.Contains(key)
			}
			want = want && in
		}
		// A range may hold keys that are longer than the model's: one between two of the
		// model's that are covered may not be.
		got := u.covers(asked)
		if got {
			require.True(t, want, "%q covers %q", parts, asked)
		} else if want {
			require.False(t, asked.Single(), "%q covers %q", parts, asked)
			require.True(t, hasGap(parts, asked), "%q covers %q", parts, asked)
		}
	})
}

// Intervals that only touch cover together what spans them (etcd T-84).
func TestUnionOfTouching(t *testing.T) {
	interval := func(key, end string) core.Interval { return core.Interval{Key: []byte(key), End: []byte(end)} }
	u := unionOf([]span{spanOf(interval("c", "\x00")), spanOf(interval("a", "")), spanOf(interval("a\x00", "b")), spanOf(interval("b", "c"))})
	require.Len(t, u, 1)
	require.True(t, u.covers(interval("a", "\x00")))
	require.False(t, u.covers(interval("\x00", "b")))
}

// hasGap finds a key of three letters that is asked for and in no part.
func hasGap(parts []core.Interval, asked core.Interval) bool {
	for _, key := range smallKeys() {
		for _, last := range []byte{0, 'a', 'c', 0xff} {
			long := append(append([]byte(nil), key...), last)
			if !asked.Contains(long) {
				continue
			}
			in := false
			for _, part := range parts {
				in = in || part.Contains(long)
			}
			if !in {
				return true
			}
		}
	}
	return false
}
