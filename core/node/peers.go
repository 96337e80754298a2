package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/peer"
)

// PeerConfig is how this member reaches the others and is reached. The zero value is
// that of a member which is alone and stays so.
type PeerConfig struct {
	// Listeners are where other members connect, TLS done; Stop closes them.
	Listeners []net.Listener
	// Dial connects to a peer URL, TLS done.
	Dial func(ctx context.Context, url string) (net.Conn, error)
	// ReadTimeout and WriteTimeout are peer.Config's.
	ReadTimeout, WriteTimeout time.Duration
}

// questionKind tells apart what members ask each other. The numbers are the wire's.
type questionKind uint8

// The questions.
const (
	// askRenew renews leases and touches sessions in the leader's deadlines (renew.go).
	askRenew questionKind = 1 + iota
	// askMembers has the leader judge and propose a change of members (membership.go).
	askMembers
	// askHash compares what a HashMark summed up (corruption.go).
	askHash
	// askStatus is a member's own account of itself (overview.go).
	askStatus
	// askLease is what the leader's deadlines say of leases (renew.go).
	askLease
	// askMembersLoosely is askMembers of a member without --strict-reconfig-check.
	askMembersLoosely
)

// answerer answers a kind of question.
type answerer func(ctx context.Context, from core.MemberID, body []byte) ([]byte, error)

// peers is this member among the others: the network of consensus, and who answers
// what they ask. It implements peer.Handler.
type peers struct {
	n *Node
	// transport is nil until it is started, and if this member is alone.
	transport atomic.Pointer[peer.Transport]
	// answers is complete before transport starts, and does not change.
	answers map[questionKind]answerer

	states  states
	changes changes

	mu sync.Mutex
	// members are those that transport is told of.
	members []core.Member
	// complained is when a line was written about something: by member, of messages that
	// cannot be read; by text, of changes of members that are refused.
	complained map[any]time.Time
}

var _ peer.Handler = (*peers)(nil)

func (p *peers) init(n *Node, members []core.Member) {
	p.n, p.members, p.answers = n, members, n.answerers()
}

// start listens to the peers and dials them. Consensus runs, and may have changed the
// members.
func (p *peers) start() error {
	n := p.n
	if n.cfg.Peers.Dial == nil {
		return nil // alone
	}
	t, err := peer.Start(peer.Config{
		Cluster: n.disk.id.cluster, Self: n.disk.id.member, Name: n.cfg.Name,
		Listeners: n.cfg.Peers.Listeners, Dial: n.cfg.Peers.Dial, Handler: p, New: n.disk.isNew, OnLink: n.driver.Connected, OnGone: n.driver.Gone,
		ReadTimeout: n.cfg.Peers.ReadTimeout, WriteTimeout: n.cfg.Peers.WriteTimeout,
		Logger: n.cfg.Logger.With("component", "peer"),
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.transport.Store(t)
	t.SetMembers(p.members)
	return nil
}

// stop ends the connections.
func (p *peers) stop() {
	if t := p.transport.Load(); t != nil {
		t.Stop()
	}
}

// follow is told of the members whenever they change, by the apply goroutine. Those that
// were removed are left a little later: one that has asked for it itself waits for the
// answer.
func (p *peers) follow(members []core.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	reached := slices.Clone(members)
	for _, m := range p.members {
		if memberIn(members, m.ID) == nil {
			reached = append(reached, m)
		}
	}
	p.members = members
	t := p.transport.Load()
	if t == nil {
		return
	}
	t.SetMembers(reached)
	if len(reached) == len(members) {
		return
	}
	p.n.wait.Go(func() {
		select {
		case <-time.After(p.n.cfg.Timing.Election / 2):
		case <-p.n.stopping:
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		t.SetMembers(p.members)
	})
}

// send is consensus' network. What is for one member goes together.
func (p *peers) send(messages []*consensus.Message) {
	t := p.transport.Load()
	if t == nil {
		return
	}
	for i, m := range messages {
		toSame := func(o *consensus.Message) bool { return o.GetTo() == m.GetTo() }
		if slices.ContainsFunc(messages[:i], toSame) {
			continue // it went with the first
		}
		var together []proto.Message
		for _, o := range messages[i:] {
			if toSame(o) {
				together = append(together, o)
			}
		}
		t.Send(core.MemberID(m.GetTo()), together...)
	}
}

// ask asks a member a question.
func (p *peers) ask(ctx context.Context, to core.MemberID, kind questionKind, body []byte) ([]byte, error) {
	t := p.transport.Load()
	if t == nil {
		return nil, core.Errorf(core.Timeout, "member %x cannot be reached: this member is alone", uint64(to))
	}
	return t.Ask(ctx, to, uint8(kind), body)
}

// links is since when the others can be reached.
func (p *peers) links() map[core.MemberID]time.Time {
	since := map[core.MemberID]time.Time{}
	if t := p.transport.Load(); t != nil {
		for _, s := range t.Peers() {
			if !s.Since.IsZero() {
				since[s.ID] = s.Since
			}
		}
	}
	return since
}

// broken is why there is no connection to a member, nil if there is one.
func (p *peers) broken(id core.MemberID) error {
	if t := p.transport.Load(); t != nil {
		for _, s := range t.Peers() {
			if s.ID == id {
				return s.Err
			}
		}
	}
	return nil
}

// askLeader asks whoever leads. It fails with NoLeader if nobody is known to.
func (p *peers) askLeader(ctx context.Context, kind questionKind, body []byte) ([]byte, error) {
	leader := p.n.Self().Leader
	if leader == 0 || leader == p.n.disk.id.member {
		return nil, core.NoLeader
	}
	return p.ask(ctx, leader, kind, body)
}

// Message implements peer.Handler.
func (p *peers) Message(from core.MemberID, body []byte) {
	m, err := consensus.DecodeMessage(body)
	if err != nil || core.MemberID(m.GetFrom()) != from {
		p.unreadable(from, err)
		return
	}
	p.n.driver.Receive(m)
}

// complaintPause is how long no line is written of what peers send that cannot be read, or
// of changes of members that are refused, after a like one: there may be many messages, and
// a client's reconfig is tried again until it succeeds or is given up.
const complaintPause = time.Minute

// due says whether it is time for a line about something.
func (p *peers) due(about any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if last, told := p.complained[about]; told && now.Sub(last) < complaintPause {
		return false
	}
	if p.complained == nil {
		p.complained = make(map[any]time.Time)
	}
	p.complained[about] = now
	return true
}

// refused says that a change of members is refused.
func (p *peers) refused(ctx context.Context, level slog.Level, text string, args ...any) {
	if p.due(text) {
		p.n.cfg.Logger.Log(ctx, level, text, args...)
	}
}

// unreadable says that a member sends what cannot be read.
func (p *peers) unreadable(from core.MemberID, err error) {
	if p.due(from) {
		p.n.cfg.Logger.Warn("a peer's message cannot be read, or is not its own", "from", fmt.Sprintf("%x", uint64(from)), "error", err)
	}
}

// Broken implements peer.Handler.
func (p *peers) Broken(to core.MemberID) { p.n.driver.Disconnected(to) }

// Answer implements peer.Handler.
func (p *peers) Answer(ctx context.Context, from core.MemberID, kind uint8, body []byte) ([]byte, error) {
	answer, ok := p.answers[questionKind(kind)]
	if !ok {
		return nil, core.Errorf(core.Unsupported, "this version does not know question %d", kind)
	}
	return answer(ctx, from, body)
}

// Admit implements peer.Handler: members may speak, and nobody else; and none that has
// forgotten what it has promised.
func (p *peers) Admit(h peer.Hello) *peer.Refusal {
	view := p.n.published.hold()
	if view == nil {
		return &peer.Refusal{Reason: "this member is stopping"}
	}
	defer view.Close()
	switch {
	case h.Cluster != p.n.disk.id.cluster:
		return &peer.Refusal{Reason: fmt.Sprintf("member %x is of cluster %x, this is cluster %x: look at --initial-cluster-token and the peer URLs",
			uint64(h.From), h.Cluster, p.n.disk.id.cluster)}
	case h.To != p.n.disk.id.member:
		return &peer.Refusal{Reason: fmt.Sprintf("member %x looks for member %x here, but this is member %x: an advertised peer URL leads elsewhere",
			uint64(h.From), uint64(h.To), uint64(p.n.disk.id.member))}
	case h.From == p.n.disk.id.member:
		return &peer.Refusal{Reason: fmt.Sprintf("member %x is this one: the data directory was copied, or an advertised peer URL leads back", uint64(h.From))}
	case view.RemovedMember(h.From):
		return &peer.Refusal{Removed: true, Reason: fmt.Sprintf("member %x was removed from the cluster", uint64(h.From))}
	}
	m := memberIn(view.Members(), h.From)
	switch {
	case m == nil:
		return &peer.Refusal{Reason: fmt.Sprintf("member %x (%q) is none of this cluster: add it first", uint64(h.From), h.Name)}
	case !h.New:
		return nil
	}
	started, err := p.n.disk.hasStarted(m, view.Index())
	switch {
	case err != nil:
		return &peer.Refusal{Reason: fmt.Sprintf("whether member %x has started before cannot be told: %v", uint64(h.From), err)}
	case started:
		return &peer.Refusal{Forgotten: true, Reason: fmt.Sprintf("member %x has started before, and its data directory is new: "+
			"what it has promised to the others is lost with the old one", uint64(h.From))}
	}
	return nil
}

// Introduce implements peer.Handler.
func (p *peers) Introduce(who peer.Newcomer) (peer.Introduction, error) {
	i := peer.Introduction{Cluster: p.n.disk.id.cluster, Self: p.n.disk.id.member, Name: p.n.cfg.Name, Leader: p.n.Self().Leader}
	i.Mount, _ = p.n.Mount()
	if view := p.n.published.hold(); view != nil {
		defer view.Close()
		i.Members, i.Removed = view.Members(), view.RemovedMembers()
	}
	return i, amiss(&i, &who)
}

// amiss is what keeps a newcomer from becoming a member, as far as one that is asked can
// tell. It decides nothing: the newcomer does, with what it is told.
func amiss(i *peer.Introduction, who *peer.Newcomer) error {
	if who.Name == "" {
		return nil // it says nothing of itself
	}
	at := slices.IndexFunc(i.Members, func(m core.Member) bool {
		return m.ID == who.From || who.From == 0 && sameURLs(m.PeerURLs, who.PeerURLs)
	})
	switch {
	case who.Cluster != 0 && who.Cluster != i.Cluster:
		return fmt.Errorf("member %x (%q, %v) is to found cluster %x, this is cluster %x: look at --initial-cluster-token and --initial-cluster",
			uint64(who.From), who.Name, who.PeerURLs, who.Cluster, i.Cluster)
	case slices.Contains(i.Removed, who.From):
		return fmt.Errorf("member %x (%q, %v) was removed from the cluster", uint64(who.From), who.Name, who.PeerURLs)
	case at < 0:
		return fmt.Errorf("member %q, with the peer URLs %v, is none of this cluster: add it first", who.Name, who.PeerURLs)
	case i.Members[at].Name != "":
		return fmt.Errorf("member %x (%q, %v) has started before, and has no data directory now", uint64(i.Members[at].ID), who.Name, who.PeerURLs)
	case namesake(i.Members, i.Members[at].ID, who.Name) >= 0:
		return fmt.Errorf("member %x (%v) has the name %q, which another member has", uint64(i.Members[at].ID), who.PeerURLs, who.Name)
	}
	return nil
}

// Refused implements peer.Handler: a member that was removed ends (etcd T-101), and so
// does one that has forgotten what it has promised. One that is not new any more has not:
// it was let in by others meanwhile.
func (p *peers) Refused(_ core.MemberID, why *peer.Refusal) {
	switch {
	case why.Removed:
		p.n.fail(ErrRemoved)
	case why.Forgotten && p.n.disk.isNew():
		p.n.fail(ErrForgotten)
	}
}
