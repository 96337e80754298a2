package zk

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// ensemble is a cluster of four members, of whom the last is an observer, to which the
// server's member is the one that self names.
type ensemble struct {
	core.Cluster
	self, leader core.MemberID
}

var servers = []core.Member{
	{ID: 0x30, Name: "2", PeerURLs: []string{"http://b:2888"}},
	{ID: 0x40, Name: "1", PeerURLs: []string{"https://a:2888"}},
	{ID: 0x50, Name: "three", PeerURLs: []string{"http://[::1]:2888", "http://c:2888"}},
	{ID: 0x60, Name: "4", PeerURLs: []string{"http://d:2888"}, Learner: true},
}

func (e ensemble) Members(context.Context, bool) ([]core.Member, error) { return servers, nil }

func (e ensemble) Self() core.Self {
	return core.Self{Member: e.self, Leader: e.leader, Term: 5, Learner: e.self == 0x60}
}

func (e ensemble) Status() core.Status {
	return core.Status{Member: e.self, Leader: e.leader, Rev: 0x12}
}

// Overview implements core.Overview: one member cannot be reached.
func (e ensemble) Overview(context.Context, core.Principal) ([]core.MemberStatus, error) {
	var all []core.MemberStatus
	for _, m := range servers {
		s := core.MemberStatus{Member: m, Status: core.Status{Leader: e.leader}}
		if m.ID == 0x50 {
			s = core.MemberStatus{Member: m, Err: errors.New("it cannot be reached")}
		}
		all = append(all, s)
	}
	return all, nil
}

const theirConfig = "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant\nversion=0"

func startEnsemble(t *testing.T, self, leader core.MemberID) *server {
	return startServer(t, allWords, func(c *Config) {
		e := ensemble{c.Cluster, self, leader}
		c.Cluster, c.Ensemble.Overview = e, e
		c.Ensemble.Servers = strings.TrimSuffix(theirConfig, "version=0")
	})
}

// What the members of an ensemble say of themselves, as four servers of ZooKeeper 3.9.5 did,
// one of them an observer.
func TestWordsOfAnEnsemble(t *testing.T) {
	leader := startEnsemble(t, 0x30, 0x30)
	require.Contains(t, leader.word("srvr"), "\nMode: leader\nNode count: 5\nProposal sizes last/min/max: -1/-1/-1\n")
	mntr := leader.word("mntr")
	for _, line := range []string{
		"server_state\tleader", "peer_state\tleading - broadcast", "quorum_size\t3", "learners\t2", "synced_followers\t1",
		"synced_non_voting_followers\t0", "synced_observers\t1", "pending_syncs\t0", "last_proposal_size\t-1",
	} {
		require.Contains(t, mntr, "zk_"+line+"\n")
	}
	conf := leader.word("conf")
	require.Contains(t, conf, "serverId=2\npeerType=0\nmembership: \n"+theirConfig)

	follower := startEnsemble(t, 0x40, 0x30)
	require.Contains(t, follower.word("srvr"), "\nMode: follower\nNode count: 5\n")
	require.NotContains(t, follower.word("srvr"), "Proposal")
	mntr = follower.word("mntr")
	require.Contains(t, mntr, "zk_server_state\tfollower\nzk_peer_state\tfollowing - broadcast\n")
	require.Contains(t, mntr, "zk_quorum_size\t3\n")
	require.NotContains(t, mntr, "synced")
	require.NotContains(t, mntr, "learners")
	require.Contains(t, follower.word("conf"), "serverId=1\n")

	observer := startEnsemble(t, 0x60, 0x30)
	require.Contains(t, observer.word("srvr"), "\nMode: observer\n")
	require.Contains(t, observer.word("mntr"), "zk_server_state\tobserver\nzk_peer_state\tobserving - broadcast\n")
	require.Contains(t, observer.word("conf"), "serverId=4\npeerType=1\n")
}

func TestAdminOfAnEnsemble(t *testing.T) {
	leader, follower := startEnsemble(t, 0x30, 0x30), startEnsemble(t, 0x50, 0x30)
	ask := func(s *server, command string) string {
		return s.admin(AdminConfig{CommandURL: "/c"}).ask(http.MethodGet, "/c/"+command, "-").Body.String()
	}
	require.Contains(t, ask(leader, "leader"), `"is_leader" : true,
  "leader_id" : 2,
  "leader_ip" : "b",`)
	require.Contains(t, ask(follower, "leader"), `"is_leader" : false,
  "leader_id" : 2,`)
	require.Contains(t, ask(follower, "zabstate"), `"myid" : 3,`, "a name that is no number has the place for one")
	view := ask(follower, "voting_view")
	require.Contains(t, view, `"1" : {
      "server_addresses" : [ "a:2888" ],`)
	require.Contains(t, view, `"3" : {
      "server_addresses" : [ "[::1]:2888", "c:2888" ],`)
	require.NotContains(t, view, `"4"`)
	require.Contains(t, ask(leader, "observers"), `"synced_observers" : 1,
  "observers" : [ "d:2888" ],`)
	require.Contains(t, ask(follower, "observers"), `"synced_observers" : 0,`)
}

// E5: /zookeeper/config of an ensemble that cannot be reconfigured.
func TestConfigOfAnEnsemble(t *testing.T) {
	c := startEnsemble(t, 0x30, 0x30).connect()
	data, stat := c.get(configPath, true)
	require.Equal(t, theirConfig, data)
	require.EqualValues(t, len(theirConfig), stat.DataLength)
	var m wire.ExistsResponse
	c.ok(wire.OpExists, &wire.ExistsRequest{Path: configPath}, &m)
	require.EqualValues(t, len(theirConfig), m.Stat.DataLength)
	require.EqualValues(t, -1, m.Stat.Version)
	var acl wire.GetACLResponse
	c.ok(wire.OpGetACL, &wire.GetACLRequest{Path: configPath}, &acl)
	require.Equal(t, m.Stat, acl.Stat)
	require.Empty(t, c.children(configPath, false))
	require.Equal(t, wire.ReconfigDisabled, c.call(wire.OpReconfig, &wire.ReconfigRequest{NewMembers: wire.NullText, CurConfigID: 7}).Err)
}
