package zk

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/node"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
	"github.com/triglot/triglot/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come, and a session lives that is not
// heard of: longer than a busy machine holds anything up.
const patience = time.Minute

// server is a member of one with the face on a loopback port. The member's disk is
// in memory; everything else is real.
type server struct {
	testing.TB
	node    *node.Node
	face    *Server
	address string
	served  chan error
}

// startServer starts a server with a tick of 500 ms, whose sessions may be longer than 20
// of them. The options change its configuration. Only the machine can hold up the requests
// of a sole member, and a password that is looked at with whatever is left of the CPU:
// requests have patience (core/node: five seconds and two election timeouts), and passwords
// cost little.
func startServer(t testing.TB, options ...func(*Config)) *server {
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s := &server{TB: t}
	var err error
	s.node, err = node.Start(node.Config{
		DataDir:             "data",
		AdvertiseClientURLs: []string{"http://localhost:2379"},
		Memory:              node.Memory{RowCache: 8 << 20, Ring: 4 << 20, BlockCache: 1 << 20, MemTable: 4 << 20},
		Timing:              node.Timing{Election: patience / 2},
		Auth:                node.AuthConfig{BcryptCost: 4},
		FS:                  storage.NewCrashableMemFS(),
		Cluster:             node.Founding{Mount: "/zk"},
		Logger:              logger,
	})
	require.NoError(t, err)
	view, err := s.node.View(s.ctx(), core.Principal{}, core.Consistency{Linearizable: true}) // there is a leader now
	require.NoError(t, err)
	view.Close()
	// A read may be answered a moment before the member shows that it is the sole leader.
	require.Eventually(t, func() bool { return s.node.Sessions().Contact() == nil }, patience, time.Millisecond)
	s.serve(logger, options...)
	t.Cleanup(func() { require.NoError(t, s.node.Stop(context.Background())) })
	s.shutDownFirst()
	return s
}

// serve serves the face of the server's member, until the test ends.
func (s *server) serve(logger *slog.Logger, options ...func(*Config)) {
	config := Config{
		Store: s.node, Sessions: s.node.Sessions(), Znodes: s.node.Znodes(), Cluster: s.node, Auth: s.node.Auth(),
		Limits: Limits{Tick: 500 * time.Millisecond, MaxSession: patience}, About: About{DataDir: "data"}, Logger: logger,
	}
	for _, option := range options {
		option(&config)
	}
	s.face = New(config)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s, err)
	s.address = l.Addr().String()
	s.served = make(chan error, 1)
	go func() { s.served <- s.face.Serve(l) }()
}

// shutDownFirst ends the face before what has been cleaned up so far.
func (s *server) shutDownFirst() {
	s.Cleanup(func() {
		require.NoError(s, s.face.Shutdown(s.ctx()))
		require.NoError(s, <-s.served)
	})
}

// ctx is a context that outlives every sane call.
func (s *server) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.Cleanup(cancel)
	return ctx
}

// dial opens a connection and sends nothing.
func (s *server) dial() *client {
	s.Helper()
	nc, err := net.Dial("tcp", s.address)
	require.NoError(s, err)
	c := &client{TB: s.TB, nc: nc}
	s.Cleanup(func() { _ = nc.Close() })
	return c
}

// connect opens a connection with a new session.
func (s *server) connect() *client {
	s.Helper()
	c := s.dial()
	// A session sends no pings here: it lives through the pauses of a busy machine.
	c.hello(wire.ConnectRequest{TimeOut: int32(patience.Milliseconds())})
	require.NotZero(s, c.session.SessionID)
	return c
}

// client speaks the protocol, a frame at a time.
type client struct {
	testing.TB
	nc      net.Conn
	xid     int32
	session wire.ConnectResponse

	writing sync.Mutex
}

type message interface{ Append([]byte) []byte }

type decodable interface{ Decode(*jute.Reader) }

func (c *client) write(b []byte) {
	c.Helper()
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.nc.Write(b)
	require.NoError(c, err)
}

func framed(body func([]byte) []byte) []byte {
	b := body(jute.OpenFrame(nil))
	jute.CloseFrame(b, 0)
	return b
}

// hello sends a ConnectRequest and reads the answer.
func (c *client) hello(m wire.ConnectRequest) {
	c.Helper()
	c.write(framed(m.Append))
	frame, err := c.frame()
	require.NoError(c, err)
	r := jute.NewReader(frame)
	c.session = wire.ConnectResponse{}
	c.session.Decode(&r)
	require.NoError(c, r.Err())
}

// frame reads a frame.
func (c *client) frame() ([]byte, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	var head [jute.FrameHeader]byte
	if _, err := io.ReadFull(c.nc, head[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(c.nc, frame)
	return frame, err
}

// request is the frame of a request; a nil body is none.
func (c *client) request(op wire.OpCode, body message) []byte {
	c.xid++
	return requestFrame(c.expected(op), op, body)
}

// expected is the xid of the request just made.
func (c *client) expected(op wire.OpCode) int32 {
	switch op {
	case wire.OpPing:
		return wire.XidPing
	case wire.OpAuth:
		return wire.XidAuth
	case wire.OpSetWatches:
		return wire.XidSetWatches
	}
	return c.xid
}

func requestFrame(xid int32, op wire.OpCode, body message) []byte {
	return framed(func(dst []byte) []byte {
		dst = (&wire.RequestHeader{Xid: xid, Op: op}).Append(dst)
		if body != nil {
			dst = body.Append(dst)
		}
		return dst
	})
}

// send sends a request and does not wait.
func (c *client) send(op wire.OpCode, body message) int32 {
	c.Helper()
	c.write(c.request(op, body))
	return c.expected(op)
}

// reply is a reply or an event.
type reply struct {
	wire.ReplyHeader
	body []byte
}

// into decodes the body.
func (r reply) into(t testing.TB, m decodable) {
	t.Helper()
	reader := jute.NewReader(r.body)
	m.Decode(&reader)
	require.NoError(t, reader.Err())
	require.Empty(t, reader.Rest())
}

func (r reply) event(t testing.TB) wire.WatcherEvent {
	t.Helper()
	require.Equal(t, wire.XidEvent, r.Xid)
	var e wire.WatcherEvent
	r.into(t, &e)
	return e
}

// recv reads a reply or an event.
func (c *client) recv() reply {
	c.Helper()
	frame, err := c.frame()
	require.NoError(c, err)
	r := jute.NewReader(frame)
	var h wire.ReplyHeader
	h.Decode(&r)
	require.NoError(c, r.Err())
	return reply{h, r.Rest()}
}

// call sends a request and reads what comes next, which must be its reply.
func (c *client) call(op wire.OpCode, body message) reply {
	c.Helper()
	xid := c.send(op, body)
	r := c.recv()
	require.Equal(c, xid, r.Xid, "%v", r)
	require.Positive(c, r.Zxid)
	if r.Err != wire.OK {
		require.Empty(c, r.body)
	}
	return r
}

// ok is call of what must succeed; the reply goes into m unless it is nil.
func (c *client) ok(op wire.OpCode, body message, m decodable) reply {
	c.Helper()
	r := c.call(op, body)
	require.Equal(c, wire.OK, r.Err)
	if m != nil {
		r.into(c, m)
	} else {
		require.Empty(c, r.body)
	}
	return r
}

// gone requires that the connection is closed, with nothing more to read.
func (c *client) gone() {
	c.Helper()
	frame, err := c.frame()
	require.Error(c, err, "%x", frame)
	var timeout net.Error
	if e, ok := err.(net.Error); ok {
		timeout = e
		require.False(c, timeout.Timeout(), "the connection is still open")
	}
}

func (c *client) create(path, data string, flags wire.CreateMode) string {
	c.Helper()
	var m wire.CreateResponse
	c.ok(wire.OpCreate, &wire.CreateRequest{Path: path, Data: []byte(data), ACL: wire.OpenACLUnsafe, Flags: flags}, &m)
	return m.Path
}

func (c *client) set(path, data string) wire.Stat {
	c.Helper()
	var m wire.SetDataResponse
	c.ok(wire.OpSetData, &wire.SetDataRequest{Path: path, Data: []byte(data), Version: -1}, &m)
	return m.Stat
}

func (c *client) get(path string, watch bool) (string, wire.Stat) {
	c.Helper()
	var m wire.GetDataResponse
	c.ok(wire.OpGetData, &wire.GetDataRequest{Path: path, Watch: watch}, &m)
	return string(m.Data), m.Stat
}

func (c *client) exists(path string, watch bool) wire.ErrorCode {
	c.Helper()
	return c.call(wire.OpExists, &wire.ExistsRequest{Path: path, Watch: watch}).Err
}

func (c *client) children(path string, watch bool) []string {
	c.Helper()
	var m wire.GetChildrenResponse
	c.ok(wire.OpGetChildren, &wire.GetChildrenRequest{Path: path, Watch: watch}, &m)
	return m.Children
}

func (c *client) remove(path string) {
	c.Helper()
	c.ok(wire.OpDelete, &wire.DeleteRequest{Path: path, Version: -1}, nil)
}
