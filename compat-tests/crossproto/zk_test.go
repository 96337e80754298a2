package crossproto

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

var open = zk.WorldACL(zk.PermAll)

// zkClient is a go-zookeeper client that keeps what it is told besides answers.
type zkClient struct {
	*zk.Conn
	t    *testing.T
	line line

	mu     sync.Mutex
	events []event    // of watches, in the order of their arrival
	states []zk.State // of the session
}

// event is an event of a watch.
type event struct {
	kind zk.EventType
	path string
}

// The events by short names.
const (
	created  = zk.EventNodeCreated
	deleted  = zk.EventNodeDeleted
	changed  = zk.EventNodeDataChanged
	children = zk.EventNodeChildrenChanged
)

func newZK(t *testing.T, p served) *zkClient {
	t.Helper()
	c := dialZK(t, p)
	t.Cleanup(c.Close)
	return c
}

// dialZK is newZK for who closes the client itself.
func dialZK(t *testing.T, p served) *zkClient {
	t.Helper()
	c := &zkClient{t: t}
	var err error
	c.Conn, _, err = zk.Connect([]string{p.ZKEndpoint()}, 10*time.Second,
		zk.WithLogger(silent{}), zk.WithEventCallback(c.note), zk.WithDialer(c.line.dial))
	require.NoError(t, err)
	c.await(zk.StateHasSession)
	return c
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func (c *zkClient) note(e zk.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Type == zk.EventSession {
		c.states = append(c.states, e.State)
		return
	}
	c.events = append(c.events, event{e.Type, e.Path})
}

// await waits until the session has been in a state.
func (c *zkClient) await(state zk.State) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.states {
			if s == state {
				return true
			}
		}
		return false
	}, patience, pollEvery, "the session does not come to %v", state)
}

// told returns the events since the last call. It needs no patience: a read that is
// sent now shows all writes acknowledged by now, on any face, and the events of what
// a reply shows come before the reply.
func (c *zkClient) told() []event {
	c.t.Helper()
	_, _, err := c.Exists("/")
	require.NoError(c.t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	events := c.events
	c.events = nil
	return events
}

// The watches, which fail the test if they cannot be set.

func (c *zkClient) watchData(path string) {
	c.t.Helper()
	_, _, _, err := c.GetW(path)
	require.NoError(c.t, err)
}

func (c *zkClient) watchExists(path string) {
	c.t.Helper()
	_, _, _, err := c.ExistsW(path)
	require.NoError(c.t, err)
}

func (c *zkClient) watchChildren(path string) {
	c.t.Helper()
	_, _, _, err := c.ChildrenW(path)
	require.NoError(c.t, err)
}

// awaitPing waits until the client has pinged the server, as it does by itself.
func (c *zkClient) awaitPing() {
	c.t.Helper()
	before := c.line.pingsAnswered()
	require.Eventually(c.t, func() bool { return c.line.pingsAnswered() > before }, patience, pollEvery)
}

// get reads a znode that must exist.
func (c *zkClient) get(path string) (string, *zk.Stat) {
	c.t.Helper()
	data, stat, err := c.Get(path)
	require.NoError(c.t, err)
	return string(data), stat
}

// list lists children that must exist, sorted, as Triglot sends them.
func (c *zkClient) list(path string) []string {
	c.t.Helper()
	names, _, err := c.Children(path)
	require.NoError(c.t, err)
	return names
}

// gone requires that there is no such znode.
func (c *zkClient) gone(path string) {
	c.t.Helper()
	exists, _, err := c.Exists(path)
	require.NoError(c.t, err)
	require.False(c.t, exists, path)
}

func (c *zkClient) create(path, data string, flags int32) string {
	c.t.Helper()
	made, err := c.Create(path, []byte(data), flags, open)
	require.NoError(c.t, err)
	return made
}

// line is what is between the client and the server: it reads the headers of what
// the server sends, which go-zookeeper keeps to itself, and can be cut.
type line struct {
	mu sync.Mutex
	// reply is the zxid of the last reply, events those of the events.
	reply  int64
	events []int64
	pings  int // how many were answered
	conn   net.Conn
	held   bool
}

var errHeld = errors.New("the line is held")

func (l *line) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held {
		return nil, errHeld
	}
	conn, err := net.DialTimeout(network, address, timeout)
	l.conn = conn
	return &tapped{Conn: conn, line: l, first: true}, err
}

// cut breaks the connection and lets no other be made until mend.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = true
	_ = l.conn.Close() // the client notices
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
}

func (l *line) lastReply() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reply
}

func (l *line) pingsAnswered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pings
}

// eventZxids are the zxids of all events so far.
func (l *line) eventZxids() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int64(nil), l.events...)
}

// tapped is a connection whose incoming frames are looked at.
type tapped struct {
	net.Conn
	line   *line
	first  bool // the answer to the handshake has no header
	buffer []byte
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.buffer = append(c.buffer, b[:n]...)
	for len(c.buffer) >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(c.buffer))
		if len(c.buffer) < size {
			break
		}
		c.frame(c.buffer[4:size])
		c.buffer = c.buffer[size:]
	}
	return n, err
}

// frame looks at a header: xid, zxid, error.
func (c *tapped) frame(b []byte) {
	if c.first || len(b) < 16 {
		c.first = false
		return
	}
	xid, zxid := int32(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint64(b[4:]))
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	switch {
	case xid == -1:
		c.line.events = append(c.line.events, zxid)
	case xid == -2:
		c.line.pings++
	case xid >= 0:
		c.line.reply = zxid
	}
}
