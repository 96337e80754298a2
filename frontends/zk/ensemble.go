package zk

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/triglot/triglot/core"
)

// What a member says of the ensemble that it is one of. A server that is alone is
// standalone to its clients, whether others may join it or not.

// configPath is the znode that holds the configuration of an ensemble.
const configPath = "/zookeeper/config"

// ensemble is the members; nil if there is but one.
func (s *Server) ensemble() []core.Member {
	members, err := s.cfg.Cluster.Members(context.Background(), false)
	if err != nil || len(members) < 2 {
		return nil
	}
	return members
}

// mode is the server's role.
func (s *Server) mode() string {
	if s.readOnly.Load() {
		return "read-only"
	}
	if s.ensemble() == nil {
		return "standalone"
	}
	switch self := s.cfg.Cluster.Self(); {
	case self.Leader == self.Member:
		return "leader"
	case self.Learner:
		return "observer"
	}
	return "follower"
}

// serverID is the number that is this member's name, as a zoo.cfg has it, or else its
// place among the members, from 1; that of a standalone server is 0, as ZooKeeper's.
func (s *Server) serverID() int {
	self := s.cfg.Cluster.Self().Member
	members := s.ensemble()
	return numberOf(members, self)
}

// numberOf is the number of a member; zero if there is none.
func numberOf(members []core.Member, id core.MemberID) int {
	i := slices.IndexFunc(members, func(m core.Member) bool { return m.ID == id })
	if i < 0 {
		return 0
	}
	var n int
	if _, err := fmt.Sscanf(members[i].Name, "%d", &n); err == nil && n > 0 && fmt.Sprint(n) == members[i].Name {
		return n
	}
	return i + 1
}

// synced are those who follow this leader, as they say.
type synced struct {
	followers int
	observers []core.MemberStatus
}

// synced asks the other members; of one that does not lead nobody follows.
func (s *Server) synced() (all synced) {
	self := s.cfg.Cluster.Self()
	if s.cfg.Ensemble.Overview == nil || self.Leader != self.Member {
		return all
	}
	members, err := s.cfg.Ensemble.Overview.Overview(s.ctx, core.Principal{Member: true})
	if err != nil {
		s.cfg.Logger.Debug("the other members cannot be asked", "error", err)
		return all
	}
	for _, m := range members {
		switch {
		case m.Err != nil || m.Member.ID == self.Member || m.Status.Leader != self.Member:
		case m.Member.Learner:
			all.observers = append(all.observers, m)
		default:
			all.followers++
		}
	}
	return all
}

// quorumGauges are those of a member of an ensemble; a standalone server has none. The
// sizes of proposals are not known, nor does a sync wait for anything that is counted.
func (s *Server) quorumGauges(g func(name, help string, value float64) figure) []figure {
	voters := 0
	members := s.ensemble()
	for _, m := range members {
		if !m.Learner {
			voters++
		}
	}
	if members == nil {
		return nil
	}
	all := []figure{g("quorum_size", "Members that vote.", float64(voters))}
	if self := s.cfg.Cluster.Self(); self.Leader != self.Member {
		return all
	}
	now := s.synced()
	return append(all,
		g("learners", "Members that follow the leader.", float64(now.followers+len(now.observers))),
		g("synced_followers", "Members that follow the leader and vote.", float64(now.followers)),
		g("synced_non_voting_followers", "Members that follow the leader and are no observers, but do not vote: none.", 0),
		g("synced_observers", "Members that follow the leader and do not vote.", float64(len(now.observers))),
		g("pending_syncs", "Syncs that wait for the leader: they are not counted.", 0),
		g("last_proposal_size", "Not known.", -1),
		g("min_proposal_size", "Not known.", -1),
		g("max_proposal_size", "Not known.", -1),
	)
}

// writeMembership is what `conf` says of an ensemble besides (ZooKeeper 3.9
// QuorumZooKeeperServer.dumpConf), as far as there is anything of the kind here.
func (s *Server) writeMembership(b *bytes.Buffer) {
	if s.ensemble() == nil {
		return
	}
	peerType := 0
	if s.cfg.Cluster.Self().Learner {
		peerType = 1
	}
	fmt.Fprintf(b, "peerType=%d\nmembership: \n%s", peerType, s.configuration())
}

// hosts are the hosts, with ports, of URLs.
func hosts(urls []string) []string {
	all := make([]string, len(urls))
	for i, text := range urls {
		all[i] = strings.TrimPrefix(strings.TrimPrefix(text, "http://"), "https://")
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			all[i] = u.Host
		}
	}
	return all
}

// hostname is the host of the first of URLs, without its port; empty if there is none.
func hostname(urls []string) string {
	if len(urls) == 0 {
		return ""
	}
	u, err := url.Parse(urls[0])
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// leader names the leader, to members of an ensemble alone.
func (a *admin) leader(*adminRequest) adminReply {
	members := a.s.ensemble()
	if members == nil {
		return told(field{"error", "server is not initialized"})
	}
	self := a.s.cfg.Cluster.Self()
	var address string
	if i := slices.IndexFunc(members, func(m core.Member) bool { return m.ID == self.Leader }); i >= 0 {
		address = hostname(members[i].PeerURLs)
	}
	return told(field{"is_leader", self.Leader == self.Member}, field{"leader_id", numberOf(members, self.Leader)}, field{"leader_ip", address})
}

// votingView lists the members that vote. Where ZooKeeper's clients find them is not
// known of the others, nor have they an address for elections alone.
func (a *admin) votingView(*adminRequest) adminReply {
	members := a.s.ensemble()
	byNumber := map[int]core.Member{}
	for _, m := range members {
		if !m.Learner {
			byNumber[numberOf(members, m.ID)] = m
		}
	}
	var view object
	for _, n := range sortedKeys(byNumber) {
		peers := hosts(byNumber[n].PeerURLs)
		view.put(fmt.Sprint(n), object{
			{"server_addresses", peers},
			{"election_addresses", peers},
			{"client_address", ""},
			{"learner_type", "participant"},
		})
	}
	return told(field{"current_config", view})
}

// observers lists those that follow this leader and do not vote.
func (a *admin) observers(*adminRequest) adminReply {
	now := a.s.synced()
	list := make([]string, len(now.observers))
	for i := range now.observers {
		list[i] = strings.Join(hosts(now.observers[i].Member.PeerURLs), "|")
	}
	if len(list) == 0 {
		list = nil
	}
	return told(field{"synced_observers", len(now.observers)}, field{"observers", list})
}

// zabState is that of raft, in ZooKeeper's words.
func (a *admin) zabState(*adminRequest) adminReply {
	if a.s.ensemble() == nil {
		return told(field{"voting", false}, field{"zabstate", ""})
	}
	self, rev := a.s.cfg.Cluster.Self(), a.s.cfg.Cluster.Status().Rev
	phase := "broadcast"
	if self.Leader == 0 {
		phase = "election"
	}
	return told(
		field{"myid", a.s.serverID()},
		field{"is_leader", self.Leader == self.Member},
		field{"voting", !self.Learner},
		field{"last_zxid", fmt.Sprintf("0x%x", int64(rev))},
		field{"zab_epoch", self.Term},
		field{"zab_counter", int64(rev)},
		field{"zabstate", phase},
	)
}
