package keyspace

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeysAreInOrderAndBeforeTheEnd(t *testing.T) {
	s := New("p/", 1_000_000, 13)
	require.Equal(t, "p/0000000000", string(s.AppendKey(nil, 0)))
	require.Equal(t, "p/0000999999", string(s.AppendKey(nil, 999_999)))
	require.Negative(t, bytes.Compare(s.AppendKey(nil, 99), s.AppendKey(nil, 100)))
	require.Negative(t, bytes.Compare(s.AppendKey(nil, 999_999), s.End()))
	require.Equal(t, "p/0001000000", string(s.End()), "what another run with more keys has written is not counted")
	require.Positive(t, bytes.Compare([]byte("p/watch"), s.End()))
}

func TestPrefixEnd(t *testing.T) {
	require.Equal(t, "p0", string(New("p/", 1, 1).PrefixEnd()))
	require.Equal(t, "q", string(New("p\xff\xff", 1, 1).PrefixEnd()))
	require.Empty(t, New("\xff", 1, 1).PrefixEnd())
}

func TestValuesAreTheSameEverywhere(t *testing.T) {
	a, b := New("a", 1, 13), New("b", 1, 13)
	for i := range uint64(10) {
		value := a.Value(rand.New(rand.NewPCG(1, i)))
		require.Len(t, value, 13)
		require.Equal(t, value, b.Value(rand.New(rand.NewPCG(1, i))))
	}
	require.Empty(t, New("c", 1, 0).Value(rand.New(rand.NewPCG(1, 1))))
}
