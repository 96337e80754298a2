package znode

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// namesOf makes names that take about so many bytes.
func namesOf(size int) core.Names {
	return core.NewNames(core.AppendName(nil, make([]byte, size)), 1)
}

// requireBooks checks what l says of itself against what it holds.
func requireBooks(t *testing.T, l *Lists) {
	t.Helper()
	bytes := 0
	for path, c := range l.byPath {
		require.Equal(t, path, c.path)
		require.Same(t, c, c.place.Value)
		bytes += c.size()
	}
	require.Equal(t, bytes, l.bytes)
	require.Equal(t, len(l.byPath), l.oldest.Len())
	require.LessOrEqual(t, l.bytes, MaxListBytes)
}

// A list is that of one row: of the very one, for one of the same bytes may have had other
// children.
func TestListsGoWithTheRow(t *testing.T) {
	var l Lists
	row, same := []byte("row"), []byte("row")
	_, ok := l.find("/a", row)
	require.False(t, ok)
	l.keep("/a", row, namesOf(3))
	names, ok := l.find("/a", row)
	require.True(t, ok)
	require.Equal(t, namesOf(3), names)
	_, ok = l.find("/a", same)
	require.False(t, ok)
	_, ok = l.find("/b", row)
	require.False(t, ok)

	l.keep("/a", same, namesOf(4))
	_, ok = l.find("/a", row)
	require.False(t, ok)
	names, ok = l.find("/a", same)
	require.True(t, ok)
	require.Equal(t, namesOf(4), names)
	requireBooks(t, &l)

	var none *Lists
	none.keep("/a", row, names)
	_, ok = none.find("/a", row)
	require.False(t, ok)
}

// However many lists there are, they take no more than they may; those that are asked for
// stay.
func TestListsAreBounded(t *testing.T) {
	var l Lists
	row, hot := []byte("row"), "/hot"
	l.keep(hot, row, namesOf(1000))
	const size = MaxListBytes / 100
	for i := range 1000 {
		l.keep(fmt.Sprintf("/%d", i), row, namesOf(size))
		_, ok := l.find(hot, row)
		require.True(t, ok, i)
	}
	requireBooks(t, &l)
	require.Greater(t, l.bytes, MaxListBytes-2*size)
	_, ok := l.find("/0", row)
	require.False(t, ok)
	_, ok = l.find("/999", row)
	require.True(t, ok)

	// Many short ones are as much as a few long ones.
	for i := range MaxListBytes / listOverhead {
		l.keep(fmt.Sprintf("/short/%d", i), row, core.Names{})
	}
	requireBooks(t, &l)
	require.Less(t, l.oldest.Len(), MaxListBytes/listOverhead)
}

// One that is too long is not remembered, and what was known of the znode neither.
func TestListsRefuseALongOne(t *testing.T) {
	var l Lists
	before, row := []byte("row"), []byte("row")
	l.keep("/other", row, namesOf(1))
	l.keep("/a", before, namesOf(1))
	l.keep("/a", row, namesOf(maxListShare))
	for _, row := range [][]byte{before, row} {
		_, ok := l.find("/a", row)
		require.False(t, ok)
	}
	_, ok := l.find("/other", row)
	require.True(t, ok)
	requireBooks(t, &l)
}

// countedStore has a row that stays where it is, as that of a cache, and counts scans.
type countedStore struct {
	*fakeStore
	row   []byte
	scans int
}

func (s *countedStore) Row([]byte) ([]byte, error) { return s.row, s.err }

func (s *countedStore) ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error {
	s.scans++
	return s.fakeStore.ScanRows(lower, upper, fn)
}

// What is remembered is not scanned for again; a scan that was cut off, or failed, leaves
// nothing behind.
func TestChildrenAreRemembered(t *testing.T) {
	s := &countedStore{fakeStore: &fakeStore{}}
	for i := range checkEvery {
		s.scanned = append(s.scanned, keys.AppendZnode(nil, fmt.Sprintf("/a/%06d", i)))
	}
	s.row = (&node{implicit: true, children: checkEvery}).append(nil)
	var l Lists
	ended, end := context.WithCancel(context.Background())
	end()
	_, _, err := Children(ended, s, s, &l, "/zk", "/a")
	require.ErrorIs(t, err, core.Canceled)
	s.scanned = append(s.scanned, []byte{1, 2, 3})
	_, _, err = Children(context.Background(), s, s, &l, "/zk", "/a")
	require.ErrorContains(t, err, "is no znode")
	s.scanned = s.scanned[:checkEvery]
	require.Zero(t, l.oldest.Len())

	s.scans = 0
	for range 3 {
		names, z, err := Children(context.Background(), s, s, &l, "/zk", "/a")
		require.NoError(t, err)
		require.EqualValues(t, checkEvery, z.NumChildren)
		require.Equal(t, checkEvery, names.Len())
		require.Equal(t, "000001", slices.Collect(names.All())[1])
	}
	require.Equal(t, 1, s.scans)
}
