package keys

import (
	"cmp"
	"testing"

	"github.com/cockroachdb/pebble/v2/cockroachkvs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawAuth(t *rapid.T, label string) (AuthKind, string) {
	kind := AuthKind(rapid.IntRange(0, 2).Draw(t, label+" kind"))
	if kind == AuthSwitch {
		return kind, ""
	}
	return kind, rapid.StringMatching("[\x00-\x0f a]{1,6}").Draw(t, label+" name")
}

func TestAuthRoundTripAndOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ka, a := drawAuth(t, "a")
		kb, b := drawAuth(t, "b")
		rowA, rowB := AppendAuth(nil, ka, a), AppendAuth(nil, kb, b)
		valid(t, rowA)
		kind, name, ok := DecodeAuth(rowA)
		require.True(t, ok)
		require.Equal(t, ka, kind)
		require.Equal(t, a, name)
		if ka == kb {
			require.Equal(t, cmp.Compare(a, b), cockroachkvs.Compare(rowA, rowB))
		}
		lower, upper := AuthBounds()
		require.Negative(t, cockroachkvs.Compare(lower, rowA))
		require.Positive(t, cockroachkvs.Compare(upper, rowA))
	})
}

func FuzzDecodeAuth(f *testing.F) {
	f.Add([]byte("a"))
	f.Add([]byte("au\x00"))
	f.Add([]byte("asx\x00"))
	f.Add(AppendAuth(nil, AuthSwitch, ""))
	f.Add(AppendAuth(nil, AuthUser, "root"))
	f.Add(AppendAuth(nil, AuthRole, "a\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if kind, name, ok := DecodeAuth(b); ok {
			require.Equal(t, b, AppendAuth(nil, kind, name))
		}
	})
}
