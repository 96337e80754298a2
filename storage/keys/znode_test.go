package keys

import (
	"bytes"
	"cmp"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/cockroachkvs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawPath(t *rapid.T, label string) string {
	names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a-", "a0", "b", "a\x01", "\u00e9"}), 0, 4).Draw(t, label)
	return "/" + strings.Join(names, "/")
}

func TestZnodeOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPath(t, "a"), drawPath(t, "b")
		ka, kb := AppendZnode(nil, a), AppendZnode(nil, b)
		valid(t, ka)
		require.True(t, IsZnode(ka))
		path, ok := DecodeZnode(ka)
		require.True(t, ok)
		require.Equal(t, a, string(path))
		want := cmp.Or(cmp.Compare(Depth(a), Depth(b)), cmp.Compare(a, b))
		require.Equal(t, want, cockroachkvs.Compare(ka, kb))

		lower, upper := ZnodeBounds()
		require.Negative(t, cockroachkvs.Compare(lower, ka))
		require.Positive(t, cockroachkvs.Compare(upper, ka))
	})
}

// TestChildBounds: of all znodes they hold the children, and nothing else.
func TestChildBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parent, path := drawPath(t, "parent"), drawPath(t, "path")
		lower, upper, nameAt := ChildBounds(parent)
		valid(t, lower)
		valid(t, upper)
		key := AppendZnode(nil, path)
		within := cockroachkvs.Compare(lower, key) <= 0 && cockroachkvs.Compare(key, upper) < 0
		prefix := strings.TrimSuffix(parent, "/") + "/"
		name, found := strings.CutPrefix(path, prefix)
		isChild := found && name != "" && !strings.Contains(name, "/")
		require.Equal(t, isChild, within, "%q below %q", path, parent)
		if isChild {
			got, ok := ChildName(key, nameAt)
			require.True(t, ok)
			require.Equal(t, name, string(got))
		}
	})
}

func FuzzDecodeZnode(f *testing.F) {
	f.Add([]byte("n"))
	f.Add(AppendZnode(nil, "/"))
	f.Add(AppendZnode(nil, "/a/b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path, ok := DecodeZnode(b)
		if ok {
			require.True(t, bytes.Equal(b, AppendZnode(nil, string(path))))
		}
		_, _ = ChildName(b, 7)
	})
}

func TestZnodeIndexOrder(t *testing.T) {
	kinds := rapid.SampledFrom([]ZnodeIndex{IndexContainer, IndexTTL, IndexRestricted, IndexCounting})
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPath(t, "a"), drawPath(t, "b")
		ia, ib := kinds.Draw(t, "kind a"), kinds.Draw(t, "kind b")
		ka, kb := AppendZnodeIndex(nil, ia, a), AppendZnodeIndex(nil, ib, b)
		valid(t, ka)
		kind, path, ok := DecodeZnodeIndex(ka)
		require.True(t, ok)
		require.Equal(t, ia, kind)
		require.Equal(t, a, string(path))
		want := cmp.Or(cmp.Compare(ia, ib), cmp.Compare(a, b))
		require.Equal(t, want, cockroachkvs.Compare(ka, kb))

		lower, upper := ZnodeIndexBounds(ia)
		require.Negative(t, cockroachkvs.Compare(lower, ka))
		require.Positive(t, cockroachkvs.Compare(upper, ka))
		require.Equal(t, ia == ib, cockroachkvs.Compare(lower, kb) < 0 && cockroachkvs.Compare(kb, upper) < 0)
	})
}

func FuzzDecodeZnodeIndex(f *testing.F) {
	f.Add([]byte("x"))
	f.Add(AppendZnodeIndex(nil, IndexTTL, "/a/b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if kind, path, ok := DecodeZnodeIndex(b); ok {
			require.True(t, bytes.Equal(b, AppendZnodeIndex(nil, kind, string(path))))
		}
	})
}
