package zkload

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/keyspace"
	"github.com/triglot/triglot/cmd/triglot/bench/measure"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// server is one that a test makes up: answer gets a request's number, operation and body.
type server struct {
	t       *testing.T
	welcome wire.ConnectResponse
	answer  func(nc net.Conn, xid int32, op wire.OpCode, body []byte) error
}

func (s *server) start() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				_ = s.serve(nc)
			})
		}
	})
	s.t.Cleanup(func() {
		_ = listener.Close()
		wg.Wait()
	})
	return listener.Addr().String()
}

func (s *server) serve(nc net.Conn) error {
	in := bufio.NewReader(nc)
	frame := func() ([]byte, error) {
		var length [4]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return nil, err
		}
		body := make([]byte, binary.BigEndian.Uint32(length[:]))
		_, err := io.ReadFull(in, body)
		return body, err
	}
	if _, err := frame(); err != nil {
		return err
	}
	if err := send(nc, s.welcome.Append(nil)); err != nil {
		return err
	}
	for {
		body, err := frame()
		if err != nil {
			return err
		}
		r := jute.NewReader(body)
		var h wire.RequestHeader
		h.Decode(&r)
		if err := s.answer(nc, h.Xid, h.Op, r.Rest()); err != nil {
			return err
		}
	}
}

func send(nc net.Conn, body []byte) error {
	b := append(jute.OpenFrame(nil), body...)
	jute.CloseFrame(b, 0)
	_, err := nc.Write(b)
	return err
}

func reply(nc net.Conn, xid int32, code wire.ErrorCode, body []byte) error {
	return send(nc, append((&wire.ReplyHeader{Xid: xid, Err: code}).Append(nil), body...))
}

var opened = wire.ConnectResponse{SessionID: 7, Password: make([]byte, 16), HasReadOnly: true}

func TestNoSession(t *testing.T) {
	s := &server{t: t}
	_, err := dial(t.Context(), s.start(), nil)
	require.ErrorContains(t, err, "no session")
	_, err = dial(t.Context(), "127.0.0.1:1", nil)
	require.ErrorContains(t, err, "refused")
}

// Answers go to those who asked, whatever is between them.
func TestCallsAreAnsweredInOrder(t *testing.T) {
	s := &server{t: t, welcome: opened, answer: func(nc net.Conn, xid int32, op wire.OpCode, body []byte) error {
		event := wire.WatcherEvent{Type: wire.EventNodeDataChanged, State: wire.StateSyncConnected, Path: "/x"}
		if err := send(nc, event.Append((&wire.ReplyHeader{Xid: wire.XidEvent}).Append(nil))); err != nil {
			return err
		}
		switch op {
		case wire.OpGetData:
			return reply(nc, xid, wire.OK, jute.AppendBuffer(nil, body[:4]))
		case wire.OpDelete:
			return reply(nc, xid, wire.NoNode, nil)
		default:
			return reply(nc, xid, wire.OK, nil)
		}
	}}
	var events sync.Map
	c, err := dial(t.Context(), s.start(), func(e *wire.WatcherEvent) { events.Store(e.Path, true) })
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			var call call
			for range 50 {
				if err := c.do(call.get("/x", false)); err != nil || call.first != 4 {
					t.Errorf("get: %v, %d", err, call.first)
				}
				if err := c.do(call.delete("/x")); !errors.Is(err, wire.NoNode) {
					t.Errorf("delete: %v", err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, c.close())
	_, fired := events.Load("/x")
	require.True(t, fired)
	require.ErrorIs(t, c.do(getOf("/x")), errClosed)
}

func TestBrokenConnection(t *testing.T) {
	for name, answer := range map[string]func(net.Conn, int32, wire.OpCode, []byte) error{
		"it ends":                         func(net.Conn, int32, wire.OpCode, []byte) error { return io.EOF },
		"an answer to 5 before that to 1": func(nc net.Conn, _ int32, _ wire.OpCode, _ []byte) error { return reply(nc, 5, 0, nil) },
		"an answer to 1": func(nc net.Conn, _ int32, _ wire.OpCode, _ []byte) error {
			return errors.Join(reply(nc, 1, 0, nil), reply(nc, 1, 0, nil))
		},
	} {
		s := &server{t: t, welcome: opened, answer: answer}
		c, err := dial(t.Context(), s.start(), nil)
		require.NoError(t, err)
		for err == nil { // an answer that nobody asked for may come after the first call's
			err = c.do(getOf("/x"))
		}
		if name != "it ends" && !errors.Is(err, io.EOF) {
			require.ErrorContains(t, err, name) // the second of two may find that the next call has asked
		}
		require.Error(t, c.close())
	}
}

// open opens a load on a server.
func open(ctx context.Context, t *testing.T, s *server, load string, c Config) *Load {
	c.Endpoints, c.Keys = []string{s.start()}, keyspace.New("p/", 10, 32)
	l, err := New(ctx, load, c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// The end of the context ends calls that a server leaves unanswered.
func TestCancelEndsCalls(t *testing.T) {
	silent := &server{t: t, welcome: opened, answer: func(net.Conn, int32, wire.OpCode, []byte) error { return nil }}
	ctx, cancel := context.WithCancelCause(t.Context())
	l := open(ctx, t, silent, "get", Config{Connections: 1})
	call, err := l.Client(0, rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, err)
	done := make(chan error)
	go func() { done <- call(ctx, time.Now()) }()
	enough := errors.New("enough")
	cancel(enough)
	require.ErrorIs(t, <-done, enough)
}

// A read that finds something else than what was written is no success.
func TestWrongAnswersAreErrors(t *testing.T) {
	s := &server{t: t, welcome: opened, answer: func(nc net.Conn, xid int32, op wire.OpCode, _ []byte) error {
		if op == wire.OpCloseSession {
			return reply(nc, xid, wire.OK, nil)
		}
		return reply(nc, xid, wire.OK, jute.AppendInt32(nil, 3))
	}}
	for load, want := range map[string]string{"get": "got 3 bytes of data instead of 32", "get-children": "got 3 children instead of 10"} {
		l := open(t.Context(), t, s, load, Config{Connections: 1})
		call, err := l.Client(0, rand.New(rand.NewPCG(1, 1)))
		require.NoError(t, err)
		require.EqualError(t, call(t.Context(), time.Now()), want)
	}
	_, err := New(t.Context(), "dance", Config{Keys: keyspace.New("p/", 1, 1)})
	require.ErrorContains(t, err, "dance")
}

// Znodes with data of another length are not those that are asked for.
func TestFilled(t *testing.T) {
	for length, want := range map[int]bool{0: false, 31: false, 32: true} {
		s := &server{t: t, welcome: opened, answer: func(nc net.Conn, xid int32, op wire.OpCode, _ []byte) error {
			if op == wire.OpGetData {
				return reply(nc, xid, wire.OK, jute.AppendBuffer(nil, make([]byte, length)))
			}
			return reply(nc, xid, wire.OK, nil)
		}}
		filled, err := open(t.Context(), t, s, "get", Config{Connections: 1}).Filled(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, filled, length)
	}
}

// A fill that is broken off does not look like a whole one: the last znode is not there. Here
// the server leaves all that is made before it unanswered.
func TestAFillThatIsBrokenOff(t *testing.T) {
	made := make(chan struct{}, 10)
	s := &server{t: t, welcome: opened, answer: func(nc net.Conn, xid int32, op wire.OpCode, body []byte) error {
		if op != wire.OpCreate {
			return reply(nc, xid, wire.OK, nil)
		}
		if strings.Contains(string(body), "/0000000009") {
			t.Error("the last znode was made")
		}
		made <- struct{}{}
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	l := open(ctx, t, s, Fill, Config{Connections: 10})
	done := make(chan error)
	go func() {
		_, err := drive.Run(ctx, l, drive.Pace{Clients: 10, Ops: 10}, &measure.Recorder{})
		done <- err
	}()
	for range 9 {
		<-made
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

// A one-time watch that fires twice is an error.
func TestAWatchThatFiresTwice(t *testing.T) {
	event := wire.WatcherEvent{Type: wire.EventNodeDataChanged, State: wire.StateSyncConnected, Path: "/p/storm"}
	var mu sync.Mutex
	var watching net.Conn
	s := &server{t: t, welcome: opened, answer: func(nc net.Conn, xid int32, op wire.OpCode, body []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if op == wire.OpGetData && body[len(body)-1] == 1 {
			watching = nc
		}
		if op == wire.OpSetData {
			b := event.Append((&wire.ReplyHeader{Xid: wire.XidEvent}).Append(nil))
			if err := errors.Join(send(watching, b), send(watching, b)); err != nil {
				return err
			}
		}
		return reply(nc, xid, wire.OK, nil)
	}}
	record := &measure.Recorder{}
	l := open(t.Context(), t, s, "watch-storm", Config{Connections: 2, Watchers: 1, Record: record})
	require.NoError(t, l.Prepare(t.Context()))
	call, err := l.Client(0, rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, err)
	require.NoError(t, call(t.Context(), time.Now()))
	require.NoError(t, l.Close())
	require.Equal(t, map[string]int64{errFiredTwice.Error(): 1}, record.Errors())
}

func TestPaths(t *testing.T) {
	l := &Load{root: rootOf("/a/b/"), Config: Config{Keys: keyspace.New("", 10, 1)}, run: "r"}
	require.Equal(t, "/a/b/0000000001/0000000123", l.pathOf(123))
	require.Equal(t, "/a/b/0000000001", l.parentOf(123))
	require.Equal(t, "/a/b/create/00/r-0000000000", l.newPath())
	require.Equal(t, "/a/b/create/01/r-0000000001", l.newPath())
}
