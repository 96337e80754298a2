package zk

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

// blocked is the socket of a client that reads when the test says so.
type blocked struct {
	sink
	reads  chan struct{}
	closed atomic.Bool
}

func (b *blocked) Write(p []byte) (int, error) {
	<-b.reads
	return b.sink.Write(p)
}

func (b *blocked) Close() error {
	b.closed.Store(true)
	return nil
}

func newBlocked(b *backlog) (*outbox, *blocked) {
	w := &blocked{reads: make(chan struct{})}
	return &outbox{w: w, backlog: b}, w
}

// Of several for which too much waits the one is closed that has not read for the longest
// time, whoever asked last, and however much waits for whom. Small replies do not count.
func TestBacklogClosesTheStalled(t *testing.T) {
	const frame = 4 * flushSize
	b := &backlog{limit: 3 * frame}
	long := func() []byte { return make([]byte, frame) }
	small, smallSocket := newBlocked(b)
	small.append(make([]byte, flushSize))
	reader, readerSocket := newBlocked(b)
	reader.append(long())
	stalled, stalledSocket := newBlocked(b)
	stalled.append(long())
	done := make(chan error)
	go func() { _, err := reader.flush(); done <- err }()
	readerSocket.reads <- struct{}{} // it has read later than stalled was asked
	readerSocket.reads <- struct{}{}
	third, thirdSocket := newBlocked(b)
	third.append(long())
	require.EqualValues(t, 3*frame, b.total)
	require.False(t, stalledSocket.closed.Load())
	third.append(long())
	require.True(t, stalledSocket.closed.Load())
	require.EqualValues(t, 3*frame, b.total)
	readerSocket.reads <- struct{}{}
	readerSocket.reads <- struct{}{}
	require.NoError(t, <-done)
	require.EqualValues(t, 2*frame, b.total)
	require.False(t, thirdSocket.closed.Load() || readerSocket.closed.Load() || smallSocket.closed.Load())
	stalled.fail(errEnded)
	require.ErrorIs(t, stalled.reason(), errNotReading)
	third.fail(errEnded)
	require.Zero(t, b.total)
	require.Empty(t, b.boxes)
}

// One that is alone may be sent as much as there is.
func TestBacklogOfOne(t *testing.T) {
	b := &backlog{limit: 1}
	o, socket := newBlocked(b)
	o.append(make([]byte, 10*flushSize))
	require.False(t, socket.closed.Load())
	require.EqualValues(t, 10*flushSize, b.total)
}

// Long frames are not copied, and keep their place among the short ones.
func TestLongFramesKeepTheirPlace(t *testing.T) {
	w := &sink{}
	o := &outbox{w: w, backlog: &backlog{}}
	var want []byte
	frames := [][]byte{[]byte("a"), bytes.Repeat([]byte("b"), flushSize+1), bytes.Repeat([]byte("c"), flushSize+1), []byte("d"), []byte("e")}
	for i, f := range frames {
		if i == 3 {
			o.event(1, f)
		} else {
			o.append(f)
		}
		want = append(want, f...)
	}
	require.Same(t, &frames[1][0], &o.full[1][0])
	packets, err := o.flush()
	require.NoError(t, err)
	require.Equal(t, 5, packets)
	require.True(t, bytes.Equal(want, w.bytes))
	require.Zero(t, o.held)
	require.Zero(t, o.backlog.total)
}

// readMuch asks for some times 1 MiB in one reply.
func readMuch(times int) *wire.MultiRequest {
	m := &wire.MultiRequest{}
	for range times {
		m.Ops = append(m.Ops, wire.MultiOp{Op: wire.OpGetData, Path: "/big"})
	}
	return m
}

// However many ask for much and do not read, no more waits than may, and one who reads is
// served all the while.
func TestClientsThatDoNotRead(t *testing.T) {
	const asked, limit = 12, 50 << 20 // the system's buffers take some of it, too
	s := startServer(t, func(c *Config) { c.Limits.Memory, c.Limits.MaxFrame = limit, 4<<20 })
	c := s.connect()
	c.create("/big", strings.Repeat("x", 1<<20-100), wire.Persistent)
	for range 12 {
		s.connect().send(wire.OpMultiRead, readMuch(asked))
		c.ok(wire.OpMultiRead, readMuch(asked), new(wire.MultiResponse))
		s.face.backlog.mu.Lock()
		total := s.face.backlog.total
		s.face.backlog.mu.Unlock()
		require.LessOrEqual(t, total, int64(limit))
	}
	const left = 1 + limit/(asked*(1<<20-200))
	require.Eventually(t, func() bool { return s.face.stats.connections.Load() <= left }, patience, time.Millisecond)
	c.ok(wire.OpMultiRead, readMuch(asked), new(wire.MultiResponse))
}

// A client that reads nothing for as long as its session's timeout is closed, although it
// pings.
func TestAStalledClientIsClosed(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits.MaxFrame = 4 << 20 })
	c := s.connect()
	c.create("/big", strings.Repeat("x", 1<<20-100), wire.Persistent)
	stalled := s.dial()
	stalled.hello(wire.ConnectRequest{TimeOut: 1000})
	stalled.send(wire.OpMultiRead, readMuch(16))
	require.Eventually(t, func() bool {
		_, _ = stalled.nc.Write(stalled.request(wire.OpPing, nil)) // it is closed at last
		return s.face.stats.connections.Load() == 1
	}, patience, 20*time.Millisecond)
	c.ok(wire.OpPing, nil, nil)
}

// What a process may take decides what clients may make it hold.
func TestDefaultMemory(t *testing.T) {
	for limit, want := range map[int64]int64{1<<63 - 1: 256 << 20, 2 << 30: 512 << 20, 100 << 20: 64 << 20} {
		require.Equal(t, want, defaultMemory(limit))
	}
}

// Watches beyond what they may take are refused; those that are set stay, and one that
// goes makes room.
func TestWatchesAreBounded(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits.Memory = 3*watchOverhead + 10 })
	c := s.connect()
	for _, path := range []string{"/a", "/b", "/c", "/a"} {
		require.Equal(t, wire.NoNode, c.exists(path, true))
	}
	require.Equal(t, wire.ThrottledOp, c.exists("/d", true))
	require.Equal(t, wire.NoNode, c.exists("/d", false))
	require.Equal(t, wire.ThrottledOp, c.call(wire.OpAddWatch, &wire.AddWatchRequest{Path: "/a", Mode: wire.AddPersistent}).Err)
	require.Equal(t, 3, s.face.watches.watches())
	c.ok(wire.OpRemoveWatches, &wire.WatchesRequest{Path: "/a", Type: wire.WatcherData}, nil)
	require.Equal(t, wire.NoNode, c.exists("/d", true))

	// Java's client does not look at the reply to setWatches.
	again := s.connect()
	again.send(wire.OpSetWatches, &wire.SetWatches{
		RelativeZxid: 1 << 40, DataWatches: []string{}, ExistWatches: []string{"/e"}, ChildWatches: []string{},
	})
	again.gone()
	require.NoError(t, c.nc.Close())
	require.Eventually(t, func() bool { return s.face.watches.watches() == 0 }, patience, time.Millisecond)
	s.face.watches.mu.Lock()
	defer s.face.watches.mu.Unlock()
	require.Zero(t, s.face.watches.weight)
}

// A client that has seen the end of its connection may come back at once, where it may
// have one only.
func TestAClosedConnectionMakesRoom(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits.MaxPerIP = 1 })
	for range 50 {
		c := s.connect()
		c.ok(wire.OpCloseSession, nil, nil)
		c.gone()
	}
	require.Zero(t, s.face.stats.counters[connectionsRejected].Load())
}
