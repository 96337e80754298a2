package zk

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

// unwritable is a connection whose client is gone when it is written to.
type unwritable struct{ net.Conn }

func (unwritable) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// A connection that breaks before its client is told of the session is forgotten
// like any other.
func TestBrokenHandshakeLeavesNothing(t *testing.T) {
	s := startServer(t)
	client, server := net.Pipe()
	s.face.start(unwritable{server})
	_, err := client.Write(framed((&wire.ConnectRequest{TimeOut: 5000}).Append))
	require.NoError(t, err)
	_, err = client.Read(make([]byte, 1)) // until the server has given up
	require.Error(t, err)
	require.Eventually(t, func() bool { return len(s.face.sessions.list()) == 0 }, patience, time.Millisecond)
}

// stuck is a client that does not read until it is released.
type stuck struct {
	released chan struct{}
	written  int
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.released
	s.written += len(b)
	return len(b), nil
}

func (*stuck) Close() error { return nil }

// However many events come while a client does not read, few goroutines wait to
// write them, and all are written.
func TestEventsOfAStuckClientTakeFewGoroutines(t *testing.T) {
	const events = 2000
	w := &stuck{released: make(chan struct{})}
	c := &conn{srv: &Server{}}
	c.out.w = w
	before := runtime.NumGoroutine()
	want := 0
	for i := range events {
		path := fmt.Sprintf("/%d", i)
		want += len(appendEvent(nil, 1, wire.EventNodeDeleted, path))
		c.out.event(1, appendEvent(nil, 1, wire.EventNodeDeleted, path))
		c.kick()
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before+2, "one that writes and one that waits for it")
	close(w.released)
	c.queue.goroutines.Wait()
	require.Equal(t, want, w.written)
}
