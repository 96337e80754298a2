package zk

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// changing is an ensemble whose members reconfig changes: numbers, of which some do not
// answer. The store is that of a member by itself.
type changing struct {
	core.Cluster
	server  *server
	members []core.Member
	down    map[string]bool
	fails   error
	taken   bool // the next one that is added would get the id of one that was removed
	done    []string
	// leaves says that this member is none any more once it is removed, left that it was, and
	// asked that it then wanted to hear from the leader, who does not know it any more.
	leaves      bool
	left, asked atomic.Bool
}

func (e *changing) Members(context.Context, bool) ([]core.Member, error) { return e.members, nil }

func (e *changing) Self() core.Self { return core.Self{Member: 1, Leader: 1, Term: 5} }

func (e *changing) Overview(context.Context, core.Principal) (all []core.MemberStatus, err error) {
	for _, m := range e.members {
		s := core.MemberStatus{Member: m, Status: core.Status{Leader: 1}}
		if e.down[m.Name] || m.Name == "" {
			s = core.MemberStatus{Member: m, Err: errors.New("it does not answer")}
		}
		all = append(all, s)
	}
	return all, nil
}

func (e *changing) Add(_ context.Context, _ core.Principal, urls []string, learner bool) (core.Member, []core.Member, error) {
	if e.taken {
		e.taken = false
		return core.Member{}, nil, core.MemberNotFound
	}
	e.done = append(e.done, "add "+strings.Join(urls, ",")+map[bool]string{true: " learner"}[learner])
	m := core.Member{ID: core.MemberID(100 + len(e.members)), PeerURLs: urls, Learner: learner}
	if e.fails == nil {
		e.members = append(e.members, m)
	}
	return m, e.members, e.fails
}

func (e *changing) Remove(_ context.Context, _ core.Principal, id core.MemberID) ([]core.Member, error) {
	e.done = append(e.done, "remove "+strconv.Itoa(int(id)))
	if id == e.Self().Member && e.leaves {
		e.members = slices.DeleteFunc(e.members, func(m core.Member) bool { return m.ID == id })
		e.left.Store(true)
	}
	return e.members, e.fails
}

func (e *changing) Update(_ context.Context, _ core.Principal, id core.MemberID, urls []string) ([]core.Member, error) {
	e.done = append(e.done, "update "+strconv.Itoa(int(id))+" "+strings.Join(urls, ","))
	return e.members, e.fails
}

func (e *changing) Promote(_ context.Context, _ core.Principal, id core.MemberID) ([]core.Member, error) {
	e.done = append(e.done, "promote "+strconv.Itoa(int(id)))
	return e.members, e.fails
}

// leavingStore is the store of a member that may have left.
type leavingStore struct {
	core.Store
	e *changing
}

func (s leavingStore) View(ctx context.Context, who core.Principal, c core.Consistency) (core.View, error) {
	if c.Linearizable && s.e.left.Load() {
		s.e.asked.Store(true)
		return nil, core.Timeout
	}
	return s.Store.View(ctx, who, c)
}

// parseForTests reads host:port:port:role;client.
func parseForTests(id int64, text string) (EnsembleServer, error) {
	server, client, clients := strings.Cut(text, ";")
	parts := strings.Split(server, ":")
	if len(parts) != 4 {
		return EnsembleServer{}, errors.New("no server")
	}
	s := EnsembleServer{ID: id, Line: "server." + strconv.FormatInt(id, 10) + "=" + text, Observer: parts[3] == "observer"}
	s.Peers, s.Clients = []string{parts[0] + ":" + parts[1]}, clients
	s.Own = []string{parts[0] + ":" + parts[1], parts[0] + ":" + client}
	return s, nil
}

func linesForTests(text string) (pairs [][2]string, err error) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		pairs = append(pairs, [2]string{key, value})
	}
	return pairs, nil
}

func startChanging(t *testing.T) (*changing, *client) {
	e := &changing{members: []core.Member{
		{ID: 1, Name: "1", PeerURLs: []string{"http://a:1"}},
		{ID: 2, Name: "2", PeerURLs: []string{"http://b:1"}},
		{ID: 3, Name: "3", PeerURLs: []string{"http://c:1"}},
		{ID: 4, Name: "4", PeerURLs: []string{"http://d:1"}, Learner: true},
	}, down: map[string]bool{}}
	s := startServer(t, func(c *Config) {
		e.Cluster = c.Cluster
		c.Cluster, c.Features.Reconfig = e, true
		c.Store = leavingStore{c.Store, e}
		c.Ensemble = Ensemble{
			Overview: e, Membership: e, Parse: parseForTests, Properties: linesForTests,
			Servers: "server.1=a:1:2:participant;9\nserver.2=b:1:2:participant;9\nserver.3=c:1:2:participant;9\nserver.4=d:1:2:observer;9\n",
		}
		c.Security.SuperDigest = superDigest
	})
	e.server = s
	return e, s.connect()
}

func asSuper(c *client) {
	require.Equal(c, wire.OK, c.call(wire.OpAuth, &wire.AuthPacket{Scheme: "digest", Auth: []byte("super:test")}).Err)
}

func joining(text string) *wire.ReconfigRequest {
	return &wire.ReconfigRequest{JoiningServers: text, NewMembers: wire.NullText, CurConfigID: anyConfig}
}

func leaving(text string) *wire.ReconfigRequest {
	return &wire.ReconfigRequest{LeavingServers: text, NewMembers: wire.NullText, CurConfigID: anyConfig}
}

// What ZooKeeper refuses, in its order: the right to it is looked at last (3.9
// PrepRequestProcessor).
func TestReconfigRefusals(t *testing.T) {
	e, c := startChanging(t)
	members := func(text string) *wire.ReconfigRequest {
		return &wire.ReconfigRequest{NewMembers: text, CurConfigID: anyConfig}
	}
	for _, test := range []struct {
		q    *wire.ReconfigRequest
		want wire.ErrorCode
	}{
		{&wire.ReconfigRequest{NewMembers: wire.NullText, CurConfigID: 7, JoiningServers: "?"}, wire.BadVersion},
		{joining("some thing"), wire.BadArguments},
		{joining("server.5=e:1"), wire.BadArguments},
		{joining("server.5=e:1:2:observer"), wire.BadArguments}, // no port for clients
		{joining("server.5=a:1:2:observer;9"), wire.BadArguments},
		{joining("server.x=e:1:2:observer;9"), wire.MarshallingError},
		{leaving("x"), wire.MarshallingError},
		{leaving("1,2"), wire.BadArguments},
		{leaving("1,2,3,4"), wire.BadArguments},
		{members(""), wire.BadArguments},
		{members("client=1"), wire.BadArguments},
		{members("server.1=a"), wire.BadArguments},
		{members("server.x=a:1:2:participant"), wire.MarshallingError},
		{members("server.4=d:1:2:observer"), wire.MarshallingError},
		{members("group.1=1:2"), wire.Unimplemented},
		{members("server.1=a:1:2:participant,server.8=e:1:2:participant,server.9=f:1:2:participant"), wire.NewConfigNoQuorum},
		{joining("server.5=e:1:2:observer;9"), wire.NoAuth},
		{leaving("4"), wire.NoAuth},
	} {
		require.Equal(t, test.want, c.call(wire.OpReconfig, test.q).Err, "%+v", *test.q)
	}
	e.down = map[string]bool{"2": true}
	require.Equal(t, wire.NewConfigNoQuorum, c.call(wire.OpReconfig, leaving("3")).Err)
	require.Empty(t, e.done)
	e.down = nil
	asSuper(c)
	require.Equal(t, wire.Unimplemented, c.call(wire.OpReconfig, joining("server.3=c:1:2:observer;9")).Err, "a voter cannot become an observer")
	require.Empty(t, e.done)
}

// The members change, and /zookeeper/config with them, whose version is the revision; those
// who watch it hear of it.
func TestReconfigOfAnEnsemble(t *testing.T) {
	e, c := startChanging(t)
	asSuper(c)
	data, _ := c.get(configPath, true)
	require.True(t, strings.HasSuffix(data, "\nversion=0"), data)

	e.taken = true
	var m wire.GetDataResponse
	c.send(wire.OpReconfig, joining("server.5=e:1:2:observer;9,server.4=d:1:2:participant;9"))
	event := c.recv().event(t)
	require.Equal(t, wire.WatcherEvent{Type: wire.EventNodeDataChanged, State: wire.StateSyncConnected, Path: configPath}, event)
	c.recv().into(t, &m)
	require.Equal(t, []string{"promote 4", "add http://e:1 learner"}, e.done)
	require.Equal(t, "server.1=a:1:2:participant;9\nserver.2=b:1:2:participant;9\nserver.3=c:1:2:participant;9\n"+
		"server.4=d:1:2:participant;9\nserver.5=e:1:2:observer;9\nversion="+strconv.FormatInt(m.Stat.Mzxid, 16), string(m.Data))
	require.EqualValues(t, len(m.Data), m.Stat.DataLength)
	require.EqualValues(t, -1, m.Stat.Version)
	data, stat := c.get(configPath, false)
	require.Equal(t, string(m.Data), data)
	require.Equal(t, m.Stat, stat)
	require.Equal(t, wire.BadVersion, c.call(wire.OpReconfig, &wire.ReconfigRequest{NewMembers: wire.NullText, CurConfigID: m.Stat.Mzxid + 1}).Err)

	e.done, e.members[3].Learner = nil, false
	c.ok(wire.OpReconfig, &wire.ReconfigRequest{
		LeavingServers: "1,2", JoiningServers: "server.3=x:1:2:participant;9", NewMembers: wire.NullText, CurConfigID: m.Stat.Mzxid,
	}, &m)
	require.Equal(t, []string{"update 3 http://x:1", "remove 2", "remove 1"}, e.done, "this member goes last")
	require.Contains(t, string(m.Data), "server.3=x:1:2:participant;9\n")

	e.fails = core.Unhealthy
	brief := e.server.dial() // half of its timeout is what it waits for members to be healthy
	brief.hello(wire.ConnectRequest{TimeOut: 10_000})
	asSuper(brief)
	require.Equal(t, wire.NewConfigNoQuorum, brief.call(wire.OpReconfig, joining("server.6=f:1:2:observer;9")).Err)
	e.fails = core.PeerURLExists
	require.Equal(t, wire.BadArguments, c.call(wire.OpReconfig, joining("server.6=f:1:2:observer;9")).Err)
	after, _ := c.get(configPath, false)
	require.Equal(t, string(m.Data), after, "nothing was done")
}

// Who removes the server that he is connected to is answered with what that one knows, at
// once: it has no leader any more to hear from whether that is the latest. The connection
// ends with the answer, so that the client goes on elsewhere; a ZooKeeper goes on as a
// follower without a vote.
func TestReconfigRemovesItsOwnServer(t *testing.T) {
	e, c := startChanging(t)
	asSuper(c)
	e.leaves = true
	var m wire.GetDataResponse
	c.ok(wire.OpReconfig, leaving("1"), &m)
	require.False(t, e.asked.Load())
	require.Equal(t, []string{"remove 1"}, e.done)
	require.Contains(t, string(m.Data), "version="+strconv.FormatInt(m.Stat.Mzxid, 16))
	c.gone()
}
