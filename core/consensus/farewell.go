package consensus

import "go.etcd.io/raft/v3/raftpb"

// farewell is what the leader of two voters owes the other one when an entry has removed
// it. It ends when it has applied that; and the other, if a crash made it forget that
// the entry is committed, would wait for its vote for ever. So it applies nothing, and
// takes the entry for uncommitted if it crashes itself, before the other has on disk that
// it is committed: when an entry is committed that was sent after that was known.
type farewell struct {
	at   uint64 // the entry; zero is none
	term uint64
	mark uint64 // the later entry; zero if there is none yet
	// begun says that what is sent from now on tells that the entry is committed.
	begun bool
}

// sent notes entries that are appended, and sent at the same time.
func (f *farewell) sent(entries []*raftpb.Entry) {
	if f.begun && f.mark == 0 && len(entries) > 0 {
		f.mark = entries[len(entries)-1].GetIndex()
	}
}

// over reports whether a committed entry ends it. That of a later term does, for its
// leader has the entry that removes on disk as committed, or sent it as such.
func (f *farewell) over(c *Committed) bool {
	return f.at != 0 && (c.Term > f.term || f.mark != 0 && c.Index >= f.mark)
}
