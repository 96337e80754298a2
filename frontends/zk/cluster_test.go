package zk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core/node"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
	"github.com/triglot/triglot/storage"
)

// cluster is three members in this process, each with the face, on loopback.
type cluster struct {
	testing.TB
	servers []*server

	mu sync.Mutex
	// conns are the connections between members, by who dialled and to whom; down are the
	// members that are cut off.
	conns map[net.Conn][2]int
	down  map[int]bool
	owner map[string]int // of a peer's address
}

// clusterElection is how long a member may be held up and still serve: a read of the
// leader's, a heartbeat. It is long enough for a machine that is busy, and short enough
// for those who wait until a member that is cut off has noticed.
const clusterElection = 4 * time.Second

func startCluster(t *testing.T) *cluster {
	t.Parallel()
	c := &cluster{TB: t, conns: map[net.Conn][2]int{}, down: map[int]bool{}, owner: map[string]int{}}
	var listeners []net.Listener
	var founders []node.Peer
	for i := range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		listeners = append(listeners, l)
		c.owner[l.Addr().String()] = i
		founders = append(founders, node.Peer{Name: fmt.Sprint(i + 1), URLs: []string{"http://" + l.Addr().String()}})
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	var starting sync.WaitGroup
	errs := make([]error, 3)
	for i := range 3 {
		s := &server{TB: t}
		c.servers = append(c.servers, s)
		starting.Go(func() {
			s.node, errs[i] = node.Start(node.Config{
				Name: founders[i].Name, DataDir: "data", FS: storage.NewCrashableMemFS(), Logger: logger,
				Cluster: node.Founding{Peers: founders, AdvertisePeerURLs: founders[i].URLs, Mount: "/zk"},
				Peers:   node.PeerConfig{Listeners: listeners[i : i+1], Dial: c.dialer(i)},
				Memory:  node.Memory{RowCache: 8 << 20, Ring: 4 << 20, BlockCache: 1 << 20, MemTable: 4 << 20},
				Timing:  node.Timing{Heartbeat: 50 * time.Millisecond, Election: clusterElection},
			})
		})
	}
	starting.Wait()
	require.NoError(t, errors.Join(errs...))
	t.Cleanup(func() {
		var stopping sync.WaitGroup
		for _, s := range c.servers {
			stopping.Go(func() { _ = s.node.Stop(context.Background()) }) // a member may be cut off
		}
		stopping.Wait()
	})
	for _, s := range c.servers {
		s.serve(logger, allWords)
		s.shutDownFirst()
		require.Eventually(t, func() bool { return s.word("isro") == "rw" }, patience, 5*time.Millisecond)
	}
	return c
}

// dialer is how a member calls the others.
func (c *cluster) dialer(from int) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		u, err := url.Parse(to)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.down[from] || c.down[c.owner[u.Host]] {
			return nil, errors.New("cut off")
		}
		nc, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
		if err == nil {
			c.conns[nc] = [2]int{from, c.owner[u.Host]}
		}
		return nc, err
	}
}

// cutOff cuts a member off from the others.
func (c *cluster) cutOff(member int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down[member] = true
	for nc, ends := range c.conns {
		if slices.Contains(ends[:], member) {
			_ = nc.Close()
			delete(c.conns, nc)
		}
	}
}

// roles are the leader and the followers.
func (c *cluster) roles() (leader int, followers []int) {
	c.Helper()
	require.Eventually(c, func() bool {
		followers = nil
		for i, s := range c.servers {
			if self := s.node.Self(); self.Leader == self.Member {
				leader = i
			} else if self.Leader != 0 {
				followers = append(followers, i)
			}
		}
		return len(followers) == 2
	}, patience, 5*time.Millisecond)
	return leader, followers
}

// sync waits until what is known anywhere is known where the client is.
func (c *client) sync() {
	c.Helper()
	c.ok(wire.OpSync, &wire.SyncRequest{Path: "/"}, &wire.SyncResponse{})
}

// A session may be on any member, and move; all see what the others do, and are told of it.
func TestSessionsOnAnyMember(t *testing.T) {
	c := startCluster(t)
	leader, followers := c.roles()
	require.Contains(t, c.servers[leader].word("srvr"), "Mode: leader\n")
	require.Contains(t, c.servers[followers[0]].word("srvr"), "Mode: follower\n")
	owner, watcher := c.servers[followers[0]].connect(), c.servers[followers[1]].connect()
	require.Equal(t, wire.NoNode, watcher.exists("/a", true))
	owner.create("/a", "1", wire.Ephemeral)
	require.Equal(t, wire.EventNodeCreated, watcher.recv().event(t).Type)
	data, stat := watcher.get("/a", true)
	require.Equal(t, "1", data)
	require.Equal(t, owner.session.SessionID, stat.EphemeralOwner)
	owner.set("/a", "2")
	require.Equal(t, wire.EventNodeDataChanged, watcher.recv().event(t).Type)

	// A read behind a sync sees what was answered anywhere before.
	reader := c.servers[leader].connect()
	for i := range 50 {
		text := fmt.Sprint(i)
		owner.set("/a", text)
		for _, r := range []*client{reader, watcher} {
			r.sync()
			got, _ := r.get("/a", false)
			require.Equal(t, text, got)
		}
	}

	// It is attached elsewhere: the old connection is closed, the ephemeral stays.
	_, _ = watcher.get("/a", true)
	moved := c.servers[leader].dial()
	moved.hello(wire.ConnectRequest{TimeOut: 5000, SessionID: owner.session.SessionID, Password: owner.session.Password})
	require.Equal(t, owner.session.SessionID, moved.session.SessionID)
	owner.gone()
	require.Equal(t, wire.OK, moved.exists("/a", false))
	wrong := c.servers[followers[1]].dial()
	wrong.hello(wire.ConnectRequest{TimeOut: 5000, SessionID: owner.session.SessionID, Password: make([]byte, wire.PasswordSize)})
	require.Zero(t, wrong.session.SessionID)
	moved.ok(wire.OpCloseSession, nil, nil)
	require.Equal(t, wire.EventNodeDeleted, watcher.recv().event(t).Type)
	again := c.servers[followers[1]].dial()
	again.hello(wire.ConnectRequest{TimeOut: 5000, SessionID: owner.session.SessionID, Password: owner.session.Password})
	require.Zero(t, again.session.SessionID, "N3: it has ended")
}

// N5: a session that was opened a moment ago is attached on any member, whether that has
// heard of it or not.
func TestAttachRightAfterOpen(t *testing.T) {
	c := startCluster(t)
	for i := range 60 {
		first := c.servers[i%3].connect()
		second := c.servers[(i+1)%3].dial()
		second.hello(wire.ConnectRequest{TimeOut: 5000, SessionID: first.session.SessionID, Password: first.session.Password})
		require.Equal(t, first.session.SessionID, second.session.SessionID)
		first.gone()
		second.ok(wire.OpCloseSession, nil, nil)
	}
}

// Z6: a client that has seen what the leader alone knows to be committed is served by a
// follower, once that knows it, too; one that has seen what nobody has is closed.
func TestClientThatHasSeenWhatTheLeaderKnows(t *testing.T) {
	c := startCluster(t)
	leader, followers := c.roles()
	writer := c.servers[leader].connect()
	writer.create("/a", "", wire.Persistent)
	for i := range 40 {
		writer.set("/a", fmt.Sprint(i))
		_, stat := writer.get("/a", false)
		reader := c.servers[followers[i%2]].dial()
		reader.hello(wire.ConnectRequest{TimeOut: 5000, LastZxidSeen: stat.Mzxid})
		got, _ := reader.get("/a", false)
		require.Equal(t, fmt.Sprint(i), got)
	}
	ahead := c.servers[followers[0]].dial()
	ahead.write(framed((&wire.ConnectRequest{TimeOut: 5000, LastZxidSeen: 1 << 40}).Append))
	ahead.gone()
}

// A member that is cut off closes the connections of its clients and turns new ones away;
// they go on with their sessions on another.
func TestClientsOfAMemberThatIsCutOff(t *testing.T) {
	c := startCluster(t)
	_, followers := c.roles()
	cut, other := c.servers[followers[0]], c.servers[followers[1]]
	owner := cut.connect()
	owner.create("/a", "1", wire.Ephemeral)
	c.cutOff(followers[0])
	owner.gone()
	require.Equal(t, "null", cut.word("isro"))
	require.Equal(t, notServing+"\n", cut.word("mntr"))
	away := cut.dial()
	away.write(framed((&wire.ConnectRequest{TimeOut: 5000}).Append))
	away.gone()
	back := other.dial()
	back.hello(wire.ConnectRequest{TimeOut: 5000, SessionID: owner.session.SessionID, Password: owner.session.Password})
	require.Equal(t, owner.session.SessionID, back.session.SessionID)
	data, _ := back.get("/a", false)
	require.Equal(t, "1", data)
}

// Order across members (design 4): a load on followers is cut by the end of the leader.
// Of what a connection has sent, all is applied up to some request and nothing behind it,
// and at least what was answered.
func TestALoadThatIsCutHasNoGaps(t *testing.T) {
	c := startCluster(t)
	leader, followers := c.roles()
	loads := make([]*load, 4)
	first := c.servers[followers[0]].connect()
	for i := range loads {
		loads[i] = &load{client: c.servers[followers[i%2]].connect(), under: fmt.Sprintf("/%d", i), window: make(chan struct{}, 100)}
		first.create(loads[i].under, "", wire.Persistent)
		loads[i].sync()
	}
	var running, underWay sync.WaitGroup
	for _, l := range loads {
		underWay.Add(1)
		running.Go(l.send)
		running.Go(func() { l.count(200, underWay.Done) })
	}
	underWay.Wait()
	c.cutOff(leader)
	running.Wait()

	var reader *client
	require.Eventually(t, func() bool {
		reader = c.servers[followers[0]].dial()
		reader.write(framed((&wire.ConnectRequest{TimeOut: 5000}).Append))
		_, err := reader.frame()
		return err == nil
	}, patience, 20*time.Millisecond)
	reader.sync()
	for _, l := range loads {
		names := reader.children(l.under, false)
		slices.Sort(names)
		require.GreaterOrEqual(t, len(names), l.answered)
		require.LessOrEqual(t, len(names), l.sent)
		for k, name := range names {
			require.Equal(t, fmt.Sprintf("%08d", k), name, "a later write was applied without an earlier one")
		}
	}
}

// load is a client that creates znodes, up to some at a time, until its connection ends.
type load struct {
	*client
	under          string
	window         chan struct{}
	sent, answered int
}

func (l *load) send() {
	for range l.window {
		path := fmt.Sprintf("%s/%08d", l.under, l.sent)
		l.sent++
		if _, err := l.nc.Write(l.request(wire.OpCreate, &wire.CreateRequest{Path: path, ACL: wire.OpenACLUnsafe})); err != nil {
			return
		}
	}
}

// count counts the replies, all of which must be good. It calls reached once there are
// some.
func (l *load) count(some int, reached func()) {
	defer close(l.window)
	for range cap(l.window) {
		l.window <- struct{}{}
	}
	for {
		frame, err := l.frame()
		if err != nil {
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				l.Error("the connection was not closed")
			}
			return
		}
		reader := jute.NewReader(frame)
		var h wire.ReplyHeader
		if h.Decode(&reader); h.Err != wire.OK {
			l.Errorf("reply %d is an error: %v", l.answered, h.Err)
		}
		if l.answered++; l.answered == some {
			reached()
		}
		select {
		case l.window <- struct{}{}:
		default: // the sender has ended
		}
	}
}
