package consensus

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core/command"
)

// What a leader appends.

// hungry reports whether a proposal that arrived now would be appended, or sent to the
// leader, now.
func (r *replica) hungry() bool {
	if len(r.proposer.queue) > 0 {
		return false
	}
	return r.leads() && r.disk.appending == 0 || r.forwards()
}

// propose appends what is queued, here and of the followers, as one entry, unless one is
// being appended: then it waits, and gathers more.
func (r *replica) propose() {
	if !r.leads() || r.disk.appending > 0 || !r.proposer.room() || r.proposeChange() {
		return
	}
	if r.members.leaving.at != 0 && r.members.leaving.mark == 0 {
		_ = r.rn.Propose(nil) // refused while raft hands leadership over, and tried again
		return
	}
	own, relayed := len(r.proposer.queue) > 0, len(r.relay.queue) > 0
	if !own && !relayed {
		return
	}
	var b batch
	var taken int
	if relayed {
		b, taken = r.share(own)
	} else {
		b, taken = r.proposer.next(r.now, maxEntryBytes, true)
		r.proposer.batches = r.proposer.batches[:0]
	}
	if len(b.proposals) > 0 {
		r.proposer.batches = append(r.proposer.batches, r.proposer.encoded(&b))
	}
	if len(r.proposer.batches) == 0 {
		r.proposer.drop(taken)
		r.proposer.recycle(b.proposals)
		return
	}
	if cap(r.proposer.entry) > maxScratchBytes {
		r.proposer.entry = nil
	}
	r.proposer.entry = command.AppendEntry(r.proposer.entry[:0], r.now.UnixMilli(), r.proposer.batches)
	// raft copies the data. It refuses while it hands leadership over.
	if err := r.rn.Propose(r.proposer.entry); err != nil {
		r.proposer.recycle(b.proposals)
		return
	}
	r.proposer.drop(taken)
	r.proposer.unapplied += len(r.proposer.entry)
	if relayed {
		r.relay.drop()
	}
	if len(b.proposals) > 0 {
		r.proposer.handOn(b)
	}
}

// share fills an entry from the followers' queue and this member's own. One of them may
// fill half of it, or more if the other is short; which one, changes with each entry, so
// that neither keeps the other out, however large its commands are.
func (r *replica) share(own bool) (b batch, taken int) {
	p, l := &r.proposer, &r.relay
	p.batches = p.batches[:0]
	if l.first || !own {
		limit := maxEntryBytes
		if own {
			limit /= 2
		}
		var bytes int
		p.batches, bytes = l.pick(p.batches, limit, true)
		b, taken = p.next(r.now, maxEntryBytes-bytes, false)
	} else {
		b, taken = p.next(r.now, maxEntryBytes/2, true)
		p.batches, _ = l.pick(p.batches, maxEntryBytes-b.bytes, len(b.proposals) == 0)
	}
	l.first = !l.first
	return b, taken
}

// proposeChange appends the next change of the members as an entry of its own, and
// reports whether it did. A leader changes the members one by one, and not before it
// serves: two leaders that each go from what they know could else have quorums that
// have no member in common.
func (r *replica) proposeChange() bool {
	if len(r.proposer.changes) == 0 || r.members.changing || !r.status.serving {
		return false
	}
	b, taken := r.proposer.nextChange(r.now)
	if len(b.proposals) == 0 {
		r.proposer.dropChanges(taken)
		return false
	}
	frame := command.AppendEntry(nil, r.now.UnixMilli(), []command.Batch{r.proposer.encoded(&b)})
	entry := changeEntry(b.proposals[0].change, frame)
	m := &Message{Type: raftpb.MsgProp.Enum(), From: new(uint64(r.self)), Entries: []*raftpb.Entry{entry}}
	if r.rn.Step(m) != nil || m.GetEntries()[0].GetType() != raftpb.EntryConfChange {
		return false // raft hands leadership over, or has put an empty entry in its place
	}
	r.members.changing = true
	r.proposer.unapplied += len(frame)
	r.proposer.dropChanges(taken)
	r.proposer.handOn(b)
	return true
}
