package consensus

import (
	"slices"

	"google.golang.org/protobuf/proto"
)

// simNetwork is what lies between the members, and what core/peer makes of it. Its
// contract is half of what keeps the order of writes; the tests of core/peer that are
// named show that half, and the simulation that it is enough:
//
//   - What comes on a stream comes in the order in which it was sent, and without a gap
//     (TestMessagesArriveInOrder, TestNoGapWithinAStream, TestOutboxModel).
//   - When a stream ends, what has not come is lost, and nothing of it comes after what
//     was sent on a later one (TestNoGapWithinAStream, TestNewestStreamCounts).
//   - Between two streams the sender is told that what it sent may be lost, also of what
//     it sent while there was none (TestBrokenIsTold, TestOutboxModel), and whether
//     there is a way at all (TestOnLink). That may take long (TestSilenceBreaks).
//   - A question is answered on its stream, or fails with it (TestAsk).
//   - That a member is gone is told when everything that it sent was given out, nobody
//     listens, and there is no stream of it (TestGone, TestNotGone,
//     TestNotGoneWhileItSpeaks).
//
// Every other seed has a network that also loses, doubles and overtakes single messages,
// and does not always tell: worse than core/peer, and no worse than raft bears.
type simNetwork struct {
	links map[[2]*simNode]*simLink
	apart map[*simNode]int     // partition that a member is in
	deaf  map[[2]*simNode]bool // from, to: nothing arrives
	worse bool
}

func newSimNetwork(worse bool) simNetwork {
	return simNetwork{
		links: map[[2]*simNode]*simLink{}, apart: map[*simNode]int{}, deaf: map[[2]*simNode]bool{}, worse: worse,
	}
}

func (w *simNetwork) cut(from, to *simNode) bool {
	return w.apart[from] != w.apart[to] || w.deaf[[2]*simNode{from, to}]
}

func (w *simNetwork) heal() {
	clear(w.apart)
	clear(w.deaf)
}

// link is the way from a member to another.
func (w *simNetwork) link(from, to *simNode) *simLink {
	key := [2]*simNode{from, to}
	if w.links[key] == nil {
		w.links[key] = &simLink{from: from, to: to}
	}
	return w.links[key]
}

// simLink is the way from a member to another: one stream at a time.
type simLink struct {
	from, to *simNode
	// up says that the sender has a stream, dead that nothing comes through any more, and
	// it does not know that yet; owed that it is to be told of what it has sent.
	up, dead, owed bool
	sent           []simFrame // and not come, in order
	answers        []simAnswer
}

// simFrame is a message, or else a question.
type simFrame struct {
	message  *Message
	question *simAsk
}

// send puts a frame on the stream. It reports false for a question that nobody will answer.
func (l *simLink) send(f simFrame) bool {
	if f.message != nil {
		l.owed = true
	}
	if l.up && !l.dead {
		l.sent = append(l.sent, f)
	}
	return l.up
}

// carry is something that happens on the way.
func (l *simLink) carry(faults bool) {
	s := l.from.s
	switch {
	case !l.from.runs():
	case !l.up:
		l.connect()
	case l.dead && (!faults || s.chance(20)):
		l.end()
	case l.dead:
	case s.network.cut(l.from, l.to) || faults && s.chance(0.3):
		l.dead = s.chance(5) // else it comes late
	case s.gone(l.from.id) && s.chance(50):
		l.dead = true // those that know refuse one that was removed
	case l.to.runs():
		for range 1 + s.rng.IntN(len(l.sent)+1) {
			l.arrive(faults)
		}
		l.answer()
	}
}

// connect tries to open a stream.
func (l *simLink) connect() {
	s := l.from.s
	l.tell()
	back := s.network.link(l.to, l.from)
	switch {
	case s.network.cut(l.from, l.to) || s.network.cut(l.to, l.from):
	case l.to.r == nil:
		if len(back.sent) == 0 { // nobody listens, and nothing of it is on its way
			l.from.happen(gone(l.to.id))
		}
	case l.to.runs():
		l.up = true
		l.from.happen(connected{l.to.id, true})
	}
}

// end has the sender notice that the stream has ended.
func (l *simLink) end() {
	l.up, l.dead, l.sent, l.answers = false, false, nil, nil
	l.from.happen(connected{l.to.id, false})
	l.tell()
	if a := l.from.asking; a != nil && a.to == l.to {
		l.from.settle(nil)
	}
}

// tell tells the sender, before anything else is sent, that something may be lost.
func (l *simLink) tell() {
	if l.owed {
		l.owed = false
		l.from.happen(disconnected(l.to.id))
	}
}

// arrive has a frame come: the first, mostly.
func (l *simLink) arrive(faults bool) {
	s := l.from.s
	if len(l.sent) == 0 || l.dead {
		return
	}
	i, worse := 0, faults && s.network.worse
	if worse && s.chance(3) {
		i = s.rng.IntN(len(l.sent))
	}
	f := l.sent[i]
	if worse && s.chance(2) && f.message != nil {
		f.message = proto.Clone(f.message).(*Message) // it comes again
	} else {
		l.sent = slices.Delete(l.sent, i, i+1)
	}
	if worse && s.chance(1) {
		l.dead = s.chance(90) // mostly the sender notices
		return
	}
	switch {
	case f.question != nil:
		l.answers = append(l.answers, simAnswer{f.question, l.to.renewAll(f.question)})
	case f.message.GetFrom() == uint64(l.from.id): // core/node passes nothing else on
		l.to.in.messages = append(l.to.in.messages, f.message)
		l.to.maybeStep()
	}
}

// answer has the answers come that are on their way back.
func (l *simLink) answer() {
	if l.from.s.network.cut(l.to, l.from) {
		return
	}
	for _, a := range l.answers {
		l.from.answered(a)
	}
	l.answers = nil
}

// sever ends the streams of a member: all of them, or those that it has opened.
func (w *simNetwork) sever(n *simNode, all bool) {
	for _, m := range n.s.nodes {
		w.link(n, m).dead = true
		if all {
			w.link(m, n).dead = true
		}
	}
}

// died is what becomes of the streams of a process that has ended: some of what it sent
// is on its way.
func (w *simNetwork) died(n *simNode) {
	for _, m := range n.s.nodes {
		out, in := w.link(n, m), w.link(m, n)
		out.up, out.dead, out.owed, out.answers = false, false, false, nil
		if !w.cut(n, m) {
			out.sent = out.sent[:n.s.rng.IntN(len(out.sent)+1)]
			for len(out.sent) > 0 && m.runs() {
				out.arrive(false)
			}
		}
		out.sent = nil
		in.dead = in.up
	}
}

// happen is an event of the transport.
func (n *simNode) happen(e event) {
	if n.r == nil {
		return
	}
	n.in.events = append(n.in.events, e)
	n.maybeStep()
}
