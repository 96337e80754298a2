package etcdv3

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// Streams that send one change under the same number share the whole response, the
// others the event; the first of all keeps nothing.
func TestKeptResponses(t *testing.T) {
	shares := func(a, b mem.Buffer) bool { return &a.ReadOnlyData()[0] == &b.ReadOnlyData()[0] }
	c := core.Change{KV: kv("k", 2, 5, 3, "small", 0), Prev: kv("k", 2, 4, 2, "old", 0), Memo: new(core.Memo)}
	message := func(change func(*eventsMessage)) mem.BufferSlice {
		m := &eventsMessage{clusterID: 1, memberID: 2, term: 3, rev: 5, changes: []core.Change{c}}
		change(m)
		out, size := marshalEvents(m)
		want, err := proto.Marshal(m.response())
		require.NoError(t, err)
		require.Equal(t, want, out.Materialize())
		require.Len(t, want, size)
		return out
	}
	same := func(*eventsMessage) {}
	require.Len(t, message(same), 1, "one buffer of its own")
	kept := message(same)
	require.Len(t, kept, 2)
	again := message(same)
	require.True(t, shares(kept[0], again[0]))
	require.True(t, shares(kept[1], again[1]))
	for name, change := range map[string]func(*eventsMessage){
		"cluster": func(m *eventsMessage) { m.clusterID++ }, "member": func(m *eventsMessage) { m.memberID++ },
		"term": func(m *eventsMessage) { m.term++ }, "revision": func(m *eventsMessage) { m.rev++ },
		"watch": func(m *eventsMessage) { m.watchID++ }, "fragment": func(m *eventsMessage) { m.fragment = true },
	} {
		other := message(change)
		require.False(t, shares(kept[0], other[0]), name)
		require.True(t, shares(kept[1], other[1]), name)
	}
	prev := message(func(m *eventsMessage) { m.prevKV = true })
	require.False(t, shares(kept[1], prev[1]))
	require.True(t, shares(kept[1], message(same)[1]))
}

// Both encodings of an event, with what is in front of them, take no more than the change
// feed counts for what is kept with a change.
func TestWhatIsKeptFitsItsRoom(t *testing.T) {
	for _, size := range []int{0, 100, 4 << 10, 1 << 20} {
		value := strings.Repeat("v", size)
		c := core.Change{KV: kv("key", 2, 5, 3, value, 0), Prev: kv("key", 2, 4, 2, value, 0), Memo: new(core.Memo)}
		for _, prev := range []bool{false, true, false, true, false, true} {
			marshalEvents(&eventsMessage{clusterID: 1, memberID: 2, rev: 5, changes: []core.Change{c}, prevKV: prev})
		}
		kept := c.Memo.Kept().(*keptEvents)
		bytes := 0
		for _, e := range []*keptEvent{kept.plain.Load(), kept.withPrev.Load()} {
			require.NotNil(t, e.first.Load())
			for _, part := range e.field {
				// What is larger is the store's own.
				if n := len(part.ReadOnlyData()); n < size || size <= 4<<10 {
					bytes += n
				}
			}
			bytes += int(unsafe.Sizeof(framed{}) + unsafe.Sizeof(*e) + unsafe.Sizeof(keptResponse{}))
		}
		require.LessOrEqual(t, bytes, c.MemoRoom(), "values of %d bytes", size)
	}
}

// The greatest numbers fit into the room for what precedes an event.
func TestMaxHead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawEvents(t)
		if n := m.sizeHead(); n > maxHead {
			t.Fatalf("%d bytes, there is room for %d", n, maxHead)
		}
	})
	m := &eventsMessage{clusterID: 1 << 63, memberID: 1 << 63, term: 1 << 63, rev: -1, watchID: -1, fragment: true}
	require.Equal(t, maxHead, m.sizeHead())
}
