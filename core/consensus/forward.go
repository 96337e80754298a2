package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

// A follower sends what its clients propose to the leader, as messages of raft's type
// MsgProp that raft never sees: one batch each, with the term it is meant for and its
// number on a stream. The leader takes a message only in that term, and only as the next
// of the newest stream of the member's incarnation: what is late, doubled or behind a
// gap is dropped. It never answers. The follower finds its batch in the committed
// entry, or gives up all that is under way, whose fate is unknown then, and goes on
// with another stream: when the term or the leader changes, when the transport says
// that messages may be lost, and when the oldest batch is overdue.

const (
	// maxForwardBytes bounds what a follower has under way to the leader, and so what it
	// can make the leader queue. With a commit every 10 ms it allows 400 MB/s.
	maxForwardBytes = 4 << 20

	// maxForwards is how many batches a follower has under way: one in the entry that the
	// leader appends, and one for the next. The leader appends one entry at a time and takes
	// one batch of a member into each, so that more would only make them, and the entries,
	// smaller and more.
	maxForwards = 2

	// maxForwardBatch bounds a batch of several commands: two of them share an entry. It is
	// what bounds large commands over a slow link, of which maxForwards batches are under
	// way in a round trip (TestFarFollower).
	maxForwardBatch = maxEntryBytes / 2

	// maxStreams bounds the incarnations of members that a leader remembers in a term.
	maxStreams = 1024

	// forwardVersion is the version of the messages, the first byte of their context. The
	// numbers of stream and message follow, little endian.
	forwardVersion      = 1
	forwardContextBytes = 1 + 8 + 8
)

// outbound is a follower's stream to the leader. While one is open, all that
// proposer.outstanding holds is on it.
type outbound struct {
	to     core.MemberID // zero: none is open
	number uint64        // of the present or last stream
	sent   uint64        // messages on it
	// cutOff are those to whom nothing gets through: what is for them stays queued, and
	// is for another leader if need be.
	cutOff map[core.MemberID]bool
}

// context is what the next message carries.
func (o *outbound) context() []byte {
	b := append(make([]byte, 0, forwardContextBytes), forwardVersion)
	b = binary.LittleEndian.AppendUint64(b, o.number)
	return binary.LittleEndian.AppendUint64(b, o.sent+1)
}

// forward sends what is queued to the leader, as far as the window allows. A change of
// members is proposed by the leader that has judged it, or not at all.
func (r *replica) forward() {
	p := &r.proposer
	for r.forwards() && len(p.queue) > 0 {
		b, taken := p.next(r.now, maxForwardBatch, true)
		if len(p.outstanding) > 0 && p.underWay()+b.bytes > maxForwardBytes {
			p.recycle(b.proposals)
			return
		}
		p.drop(taken)
		if len(b.proposals) > 0 {
			r.send(b)
		}
	}
}

// forwards reports whether a proposal that arrived now would be forwarded now, if it is
// a small one.
func (r *replica) forwards() bool {
	return r.status.leader != 0 && !r.leads() && !r.outbound.cutOff[r.status.leader] &&
		(r.outbound.to == 0 || len(r.proposer.outstanding) < maxForwards && r.proposer.underWay() < maxForwardBytes)
}

// send sends a batch on the stream to the leader.
func (r *replica) send(b batch) {
	o := &r.outbound
	if o.to == 0 {
		o.to, o.sent = r.status.leader, 0
		o.number++
	}
	entry := &raftpb.Entry{Data: command.AppendEntry(nil, 0, []command.Batch{r.proposer.encoded(&b)})}
	r.out.messages = append(r.out.messages, &Message{
		Type: raftpb.MsgProp.Enum(), To: new(uint64(o.to)), From: new(uint64(r.self)), Term: new(r.status.term),
		Context: o.context(), Entries: []*raftpb.Entry{entry},
	})
	o.sent++
	r.proposer.handOn(b)
}

// breakStream gives up what is on the stream to the leader. The next message goes on
// another one.
func (r *replica) breakStream() {
	if r.outbound.to == 0 {
		return
	}
	r.outbound.to = 0
	r.proposer.forget(core.LeaderChanged)
}

// stalled reports whether the stream has shown no effect for too long: a message is lost
// and nobody said so, or the leader cannot append.
func (r *replica) stalled() bool {
	p := &r.proposer
	return r.outbound.to != 0 && len(p.outstanding) > 0 && r.now.Sub(p.outstanding[0].begun) >= p.timeout
}

// relay is a leader's end of the followers' streams. It lasts for a term.
type relay struct {
	streams map[origin]*inbound
	started []origin // keys of streams, in the order of their first message
	queue   []relayed
	bytes   map[core.MemberID]int
	picked  []int // positions in queue, scratch
	// first says that the next entry begins with the queue, not with own proposals.
	first bool
}

// origin is whose stream it is.
type origin struct {
	member      core.MemberID
	incarnation uint64
}

// inbound is the newest stream of an origin, and the message that is due on it.
type inbound struct{ stream, next uint64 }

// relayed is a batch on its way into the log.
type relayed struct {
	command.Batch
	bytes int
}

// reset forgets all: a new term begins, or this member leads no more.
func (l *relay) reset() { *l = relay{picked: l.picked[:0]} }

var errOutOfTurn = errors.New("it is late, doubled or behind a gap")

// take takes in a message of a follower. It fails with errOutOfTurn, and with what is
// wrong with the message.
func (l *relay) take(m *Message) error {
	in, err := readForward(m)
	if err != nil {
		return err
	}
	stream := binary.LittleEndian.Uint64(m.GetContext()[1:])
	number := binary.LittleEndian.Uint64(m.GetContext()[9:])
	if l.streams == nil {
		l.streams, l.bytes = map[origin]*inbound{}, map[core.MemberID]int{}
	}
	from := origin{in.Member, in.Incarnation}
	known := l.streams[from]
	if known == nil {
		known = &inbound{}
	}
	switch {
	case stream < known.stream, stream == known.stream && number != known.next, stream > known.stream && number != 1:
		return errOutOfTurn
	case stream > known.stream:
		l.giveUp(in.Member)
		l.remember(from, known)
	case l.bytes[in.Member] > 0 && l.bytes[in.Member]+in.bytes > maxForwardBytes:
		return fmt.Errorf("it has %d bytes, and %d of the member wait", in.bytes, l.bytes[in.Member])
	}
	known.stream, known.next = stream, number+1
	l.bytes[in.Member] += in.bytes
	l.queue = append(l.queue, in)
	return nil
}

// giveUp drops what waits of a member's former streams, whose fate it takes for unknown.
func (l *relay) giveUp(member core.MemberID) {
	l.queue = slices.DeleteFunc(l.queue, func(in relayed) bool { return in.Member == member })
	delete(l.bytes, member)
}

// remember keeps a stream, if need be in place of the oldest.
func (l *relay) remember(from origin, s *inbound) {
	if l.streams[from] != nil {
		return
	}
	if len(l.started) == maxStreams {
		delete(l.streams, l.started[0])
		l.started = slices.Delete(l.started, 0, 1)
	}
	l.streams[from] = s
	l.started = append(l.started, from)
}

// readForward takes apart a message of a follower.
func readForward(m *Message) (relayed, error) {
	if c := m.GetContext(); len(c) != forwardContextBytes || c[0] != forwardVersion {
		return relayed{}, errors.New("a forwarded proposal of a version that this one does not know")
	}
	if n := len(m.GetEntries()); n != 1 {
		return relayed{}, fmt.Errorf("a forwarded proposal with %d entries", n)
	}
	e := m.GetEntries()[0]
	if e.GetType() != raftpb.EntryNormal {
		return relayed{}, fmt.Errorf("a forwarded entry of type %v", e.GetType())
	}
	frame, err := command.DecodeEntry(e.GetData())
	if err != nil {
		return relayed{}, err
	}
	if len(frame.Batches) != 1 || len(frame.Batches[0].Commands) == 0 {
		return relayed{}, fmt.Errorf("a forwarded proposal with %d batches", len(frame.Batches))
	}
	in := relayed{Batch: frame.Batches[0], bytes: len(e.GetData())}
	if uint64(in.Member) != m.GetFrom() || in.Incarnation == 0 {
		return relayed{}, fmt.Errorf("a batch of member %x", uint64(in.Member))
	}
	return in, nil
}

// pick appends batches from the queue, up to limit bytes, to an entry; with atLeastOne set it
// takes at least one. It takes no two of one incarnation, because an entry has one of
// each. They stay in the queue until drop.
func (l *relay) pick(into []command.Batch, limit int, atLeastOne bool) ([]command.Batch, int) {
	l.picked = l.picked[:0]
	bytes := 0
	for i := range l.queue {
		in := &l.queue[i]
		if slices.ContainsFunc(into, func(b command.Batch) bool { return b.Member == in.Member && b.Incarnation == in.Incarnation }) {
			continue
		}
		if (len(l.picked) > 0 || !atLeastOne) && bytes+in.bytes > limit {
			break
		}
		bytes += in.bytes
		into = append(into, in.Batch)
		l.picked = append(l.picked, i)
	}
	return into, bytes
}

// drop removes what was picked.
func (l *relay) drop() {
	for _, i := range l.picked {
		l.bytes[l.queue[i].Member] -= l.queue[i].bytes
		l.queue[i] = relayed{}
	}
	if len(l.picked) > 0 {
		l.queue = slices.DeleteFunc(l.queue, func(in relayed) bool { return in.Commands == nil })
		l.picked = l.picked[:0]
	}
}
