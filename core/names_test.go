package core

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	require.Empty(t, slices.Collect(Names{}.All()))
	want := []string{"a", "bc", "", strings.Repeat("long", 100), "é"}
	var packed []byte
	for _, name := range want {
		packed = AppendName(packed, []byte(name))
	}
	names := NewNames(packed, len(want))
	require.Equal(t, len(want), names.Len())
	require.Equal(t, want, slices.Collect(names.All()))
	require.Equal(t, "\x00\x00\x00\x01a\x00\x00\x00\x02bc\x00\x00\x00\x00", string(names.Packed()[:15]))
	for name := range names.All() {
		require.Equal(t, "a", name)
		break // which is allowed
	}
}
