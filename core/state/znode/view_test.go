package znode

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// fakeStore holds rows and keys, which may not agree with one another. It is a
// Reader and a Scanner, and fails with err.
type fakeStore struct {
	rows, keys map[string]string
	scanned    [][]byte
	err        error
}

func (s *fakeStore) Row(key []byte) ([]byte, error) {
	if row, ok := s.rows[string(key)]; ok {
		return []byte(row), s.err
	}
	return nil, s.err
}

func (s *fakeStore) Get(key []byte, _ core.Rev) (*core.KV, error) {
	if value, ok := s.keys[string(key)]; ok {
		return &core.KV{Key: key, Value: []byte(value), Version: 1}, nil
	}
	return nil, nil
}

func (s *fakeStore) ScanRows(_, _ []byte, fn func(key, value []byte) bool) error {
	for _, key := range s.scanned {
		if !fn(key, nil) {
			break
		}
	}
	return s.err
}

func storeOf(n node, path string) *fakeStore {
	return &fakeStore{rows: map[string]string{string(keys.AppendZnode(nil, path)): string(n.append(nil))}}
}

func TestReadTellsDamage(t *testing.T) {
	_, err := Read(storeOf(node{}, "/a"), "/zk", "/a")
	require.ErrorContains(t, err, `there is no key of znode "/a"`)

	s := &fakeStore{rows: map[string]string{string(keys.AppendZnode(nil, "/a")): "\xffnonsense"}}
	_, err = Read(s, "/zk", "/a")
	require.ErrorContains(t, err, "malformed znode row")

	broken := errors.New("broken")
	s.err = broken
	_, err = Read(s, "/zk", "/a")
	require.ErrorIs(t, err, broken)
	_, _, err = Children(context.Background(), s, s, nil, "/zk", "/a")
	require.ErrorIs(t, err, broken)
}

func TestChildrenTellsDamage(t *testing.T) {
	s := storeOf(node{implicit: true, children: 1}, "/a")
	s.scanned = [][]byte{{1, 2, 3}}
	_, _, err := Children(context.Background(), s, s, nil, "/zk", "/a")
	require.ErrorContains(t, err, "row 010203 is no znode")
}

func TestChildrenEndsWithItsContext(t *testing.T) {
	s := storeOf(node{implicit: true, children: 2 * checkEvery}, "/a")
	for i := range 2 * checkEvery {
		s.scanned = append(s.scanned, keys.AppendZnode(nil, fmt.Sprintf("/a/%06d", i)))
	}
	names, z, err := Children(context.Background(), s, s, nil, "/zk", "/a")
	require.NoError(t, err)
	require.Equal(t, 2*checkEvery, names.Len())
	require.Equal(t, "000001", slices.Collect(names.All())[1])
	require.EqualValues(t, 2*checkEvery, z.NumChildren)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err = Children(ctx, s, s, nil, "/zk", "/a")
	require.ErrorIs(t, err, core.Canceled)
}

// One long name does not make room for as many as there are children.
func TestChildrenOneOfWhichHasALongName(t *testing.T) {
	const children = 4096
	s := storeOf(node{implicit: true, children: children}, "/a")
	s.scanned = [][]byte{keys.AppendZnode(nil, "/a/"+strings.Repeat("0", maxPathLen/2))}
	for i := 1; i < children; i++ {
		s.scanned = append(s.scanned, keys.AppendZnode(nil, fmt.Sprintf("/a/%06d", i)))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	names, _, err := Children(context.Background(), s, s, nil, "/zk", "/a")
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Equal(t, children, names.Len())
	require.Equal(t, "000001", slices.Collect(names.All())[1])
	require.Less(t, cap(names.Packed()), 2*len(names.Packed()), "of what may be kept")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))
}
