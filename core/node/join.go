package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/peer"
)

// What a member that is new asks of the others before it changes anything on disk, and
// how one that was added to a running cluster gets its first state.

const (
	// joinWait is how long the members of the cluster to join may take.
	joinWait = 5 * time.Second
	// joinAttempts is how often all of them are asked for a state in vain, an election timeout
	// apart. What was received is kept, for the next start, too.
	joinAttempts = 10
)

// answered is what is at a peer URL of another member of --initial-cluster.
type answered struct {
	named Peer
	url   string
	peer.Introduction
	err error
}

// askOthers asks the other members of --initial-cluster who they are, at each of their
// URLs, for a member that takes itself for self.
func askOthers(cfg *Config, self identity, wait time.Duration) []answered {
	others := slices.DeleteFunc(slices.Clone(cfg.Cluster.Peers), func(p Peer) bool { return p.Name == cfg.Name })
	return ask(cfg, others, peer.Newcomer{
		Hello:    peer.Hello{Cluster: self.cluster, From: self.member, Name: cfg.Name},
		PeerURLs: cfg.Cluster.AdvertisePeerURLs,
	}, wait)
}

// ask asks others who they are, at each of their URLs.
func ask(cfg *Config, others []Peer, who peer.Newcomer, wait time.Duration) []answered {
	var all []answered
	for _, p := range others {
		for _, url := range p.URLs {
			all = append(all, answered{named: p, url: url})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	dialer := peer.Dialer{Dial: cfg.Peers.Dial}
	var asking sync.WaitGroup
	for i := range all {
		asking.Go(func() { all[i].Introduction, all[i].err = dialer.Probe(ctx, all[i].url, who) })
	}
	asking.Wait()
	return all
}

// checkFounders refuses to found a member of a cluster if those founders that answer are
// of another, or know this member: what it has promised is forgotten then. The ones that
// do not answer will be founded later.
func (p *plan) checkFounders(cfg *Config) error {
	if len(p.founders) < 2 {
		return nil
	}
	if cfg.Peers.Dial == nil {
		return errors.New("--initial-cluster names other members, but this member listens to no peers")
	}
	mount, err := mountPrefix(cfg.Cluster.Mount)
	if err != nil {
		return err
	}
	// One that is being founded, too, answers later, and need not be waited for.
	for _, a := range askOthers(cfg, p.id, cfg.Timing.Election/2) {
		if a.err != nil {
			cfg.Logger.Info("another founding member does not answer yet", "name", a.named.Name, "url", a.url, "error", a.err)
			continue
		}
		theirs, err := mountPrefix(a.Mount)
		switch {
		case err != nil:
			return err
		case a.Cluster != p.id.cluster:
			return fmt.Errorf("%s is member %x of cluster %x, but --initial-cluster and --initial-cluster-token describe cluster %x: "+
				"give all members the same", a.url, uint64(a.Self), a.Cluster, p.id.cluster)
		case !slices.ContainsFunc(p.founders, func(f core.Member) bool { return f.ID == a.Self && slices.Contains(f.PeerURLs, a.url) }):
			return fmt.Errorf("%s is member %x, which has other peer URLs: the URL leads elsewhere", a.url, uint64(a.Self))
		case a.Name != a.named.Name:
			return fmt.Errorf("%s is the member %q, but --initial-cluster calls it %q: give all members the same", a.url, a.Name, a.named.Name)
		case theirs != mount:
			return fmt.Errorf("member %q founds the cluster with --zk-prefix=%s, this one with %s: give all members the same", a.Name, theirs, mount)
		}
		if err := a.knows(p.id.member); err != nil {
			return err
		}
	}
	return nil
}

// knows fails if a member that is to be founded, or to join, is known to have started
// before, or to be gone.
func (a *answered) knows(id core.MemberID) error {
	if slices.Contains(a.Removed, id) {
		return fmt.Errorf("member %x was removed from the cluster: add it as a new member", uint64(id))
	}
	if m := memberIn(a.Members, id); m != nil && m.Name != "" {
		return fmt.Errorf("member %x (%q) has already been bootstrapped, but its data directory is empty: what it has promised to the others is lost "+
			"with it; give it its directory back, or remove the member and add it as a new one", uint64(id), m.Name)
	}
	return nil
}

// planJoin plans to become the member of a running cluster that was added for this one.
// The checks are etcd's: as many members as --initial-cluster names, with the same
// peer URLs each.
func (p *plan) planJoin(cfg *Config) error {
	if cfg.Peers.Dial == nil {
		return errors.New("--initial-cluster-state=existing: this member listens to no peers")
	}
	hosts, err := findHosts(cfg)
	if err != nil {
		return err
	}
	best := &hosts[0]
	self, err := best.place(cfg)
	if err != nil {
		return err
	}
	if err := best.knows(self.ID); err != nil {
		return err
	}
	if asked := cfg.Cluster.Mount; asked != "" && asked != best.Mount {
		return fmt.Errorf("--zk-prefix=%s is given, but the cluster was founded with %s: give that, or leave the flag out", asked, best.Mount)
	}
	p.id = identity{cluster: best.Cluster, member: self.ID}
	p.hosts = hosts
	return nil
}

// findHosts are the members of --initial-cluster that answer, those that know best in
// front: the leader, then one that knows of this member.
func findHosts(cfg *Config) ([]answered, error) {
	var hosts []answered
	if !slices.ContainsFunc(cfg.Cluster.Peers, func(p Peer) bool { return p.Name != cfg.Name }) {
		return nil, errors.New("--initial-cluster-state=existing: --initial-cluster names no other member of the cluster to join")
	}
	var silent []string
	for _, a := range askOthers(cfg, identity{}, joinWait) {
		if a.err != nil {
			silent = append(silent, a.err.Error())
			continue
		}
		hosts = append(hosts, a)
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("cannot join: no other member of --initial-cluster says who it is: %s", strings.Join(silent, "; "))
	}
	slices.SortStableFunc(hosts, func(a, b answered) int { return a.authority(cfg) - b.authority(cfg) })
	for _, a := range hosts[1:] {
		if a.Cluster != hosts[0].Cluster {
			return nil, fmt.Errorf("%s is of cluster %x, but %s of cluster %x: --initial-cluster must name the members of one",
				a.url, a.Cluster, hosts[0].url, hosts[0].Cluster)
		}
	}
	for _, a := range hosts {
		if m := memberIn(hosts[0].Members, a.Self); m == nil || !slices.Contains(m.PeerURLs, a.url) {
			return nil, fmt.Errorf("%s is member %x, which has other peer URLs: the URL leads elsewhere", a.url, uint64(a.Self))
		}
	}
	return hosts, nil
}

// authority is small for a member that knows much.
func (a *answered) authority(cfg *Config) int {
	if a.Self == a.Leader {
		return 0
	}
	if slices.ContainsFunc(a.Members, func(m core.Member) bool { return sameURLs(m.PeerURLs, cfg.Cluster.AdvertisePeerURLs) }) {
		return 1
	}
	return 2
}

// place compares --initial-cluster with the cluster, and finds this member in it.
func (a *answered) place(cfg *Config) (core.Member, error) {
	if have, want := len(cfg.Cluster.Peers), len(a.Members); have != want {
		return core.Member{}, fmt.Errorf("--initial-cluster names %d members, the cluster of %s has %d: name all of them, and add this one first", have, a.url, want)
	}
	for _, m := range a.Members {
		if !slices.ContainsFunc(cfg.Cluster.Peers, func(p Peer) bool { return sameURLs(p.URLs, m.PeerURLs) }) {
			return core.Member{}, fmt.Errorf("--initial-cluster names no member with the peer URLs %v, which member %x has", m.PeerURLs, uint64(m.ID))
		}
	}
	at := slices.IndexFunc(a.Members, func(m core.Member) bool { return sameURLs(m.PeerURLs, cfg.Cluster.AdvertisePeerURLs) })
	if at < 0 {
		return core.Member{}, fmt.Errorf("no member of the cluster has the peer URLs %v: add it first", cfg.Cluster.AdvertisePeerURLs)
	}
	self := a.Members[at]
	if i := namesake(a.Members, self.ID, cfg.Name); i >= 0 {
		return self, fmt.Errorf("member %x has the name %q already: give this one another --name", uint64(a.Members[i].ID), cfg.Name)
	}
	return self, nil
}

// namesake is the index of another member than self that has a name, -1 if none has.
func namesake(members []core.Member, self core.MemberID, name string) int {
	return slices.IndexFunc(members, func(m core.Member) bool { return m.ID != self && m.Name == name })
}

func sameURLs(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// join receives the state of one of the members, in which this one is a member already,
// and makes it this one's.
func (d *disk) join(cfg *Config, p *plan, m *metrics) error {
	var err error
	for attempt := range joinAttempts {
		if attempt > 0 {
			<-time.After(cfg.Timing.Election)
		}
		for i := range p.hosts {
			if p.joined, err = d.receive(cfg, p, &p.hosts[i], m); err == nil {
				_, err = d.dir.adopt(p.joined.Dir)
				return err
			}
			cfg.Logger.Warn("a member could not give this one its state; others are asked", "url", p.hosts[i].url, "error", err)
		}
	}
	return fmt.Errorf("cannot join, as no member gives this one its state; what was received is kept: %w", err)
}

// receive receives the state of a member.
func (d *disk) receive(cfg *Config, p *plan, from *answered, m *metrics) (consensus.Installed, error) {
	dialer := peer.Dialer{Dial: cfg.Peers.Dial}
	hello := peer.Hello{Cluster: p.id.cluster, From: p.id.member, To: from.Self, Name: cfg.Name}
	ctx := context.Background()
	opening, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	conn, err := dialer.Open(opening, from.url, hello)
	if err != nil {
		return consensus.Installed{}, err
	}
	end := m.states.received.begin(from.Self)
	s, err := fetchInto(ctx, conn, d.dir, p.id.cluster)
	end(err)
	if err != nil {
		return s, err
	}
	if !slices.Contains(s.Voters, p.id.member) && !slices.Contains(s.Learners, p.id.member) {
		return s, fmt.Errorf("the state of %s is from before this member was added", from.url)
	}
	return s, nil
}
