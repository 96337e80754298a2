package consensus

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

// Applier is the state machine.
type Applier interface {
	// Apply applies committed entries, in log order, none twice and none left
	// out. It is called by one goroutine at a time. It sees several entries at once if they
	// have gathered, so that it can write them in one batch.
	//
	// When the entries' effects are visible it completes their Local proposals,
	// but not before, and none if it returns an error. An error is final: the
	// member stops. The batch and the Local slices are the driver's again when
	// Apply returns; the data is immutable and may be kept.
	Apply(batch []Committed) error

	// Install replaces the state by one that was fetched from another member. It is
	// called in a row with Apply; the next entry applied is the one after
	// s.Index. When it returns, the new state is durable: the log is cut behind it. An error
	// is final.
	Install(s Installed) error
}

// Committed is a committed entry of the log.
type Committed struct {
	Index, Term uint64
	// Data is the entry as core/command encodes it, and Entry its frame, decoded;
	// it aliases Data. Both are empty for the entry with which a leader begins its
	// term: it has no commands, but the applied index moves.
	Data  []byte
	Entry command.Entry
	// Local are the proposals of this process whose commands the entry holds, one
	// for each command and in their order; nil if the commands came from another
	// member or another incarnation, or were given up (core.LeaderChanged). A nil
	// element has been answered. An entry has one batch per incarnation.
	Local []*Proposal

	// Change is what the entry does to raft's members. The entry has one command then,
	// and Apply sets Refused if that failed: the members stay as they are.
	Change  MemberChange
	Refused bool
}

// appendTask is work for the log writer: write, if there is anything to write,
// and then say that it is done. Tasks are done in order.
type appendTask struct {
	install *installation     // what to cut the log behind, before anything else; nil: nothing
	hard    *raftpb.HardState // nil: unchanged
	entries []*raftpb.Entry
	sync    bool
	// responses are what raft wants delivered once this and all earlier tasks are
	// as durable as they asked for.
	responses []*Message
	// release says that then the messages leave that were held back for it.
	release bool
}

// writes reports whether there is anything to write.
func (t *appendTask) writes() bool { return t.hard != nil || len(t.entries) > 0 }

// announce tells of the entries that hold commands.
func (t *appendTask) announce(appending func(data []byte)) {
	if appending == nil {
		return
	}
	for _, e := range t.entries {
		if e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0 {
			appending(e.GetData())
		}
	}
}

// applyTask is work for the applier: a state to install, or committed entries and then
// a change of leadership to tell of, of which either may be missing. Tasks are done in
// order.
type applyTask struct {
	install    *installation
	entries    []Committed
	response   *Message // raft's, once the entries are applied
	leadership *leadership
	// lazy says that the replica may hear of it when it is stepped next, be it for the
	// next tick: a lone write takes one step less.
	lazy bool
}

// abandonAfter answers the proposals of the entries after applied, which will not
// be applied.
func (t *applyTask) abandonAfter(applied uint64, err error) {
	for i := range t.entries {
		if t.entries[i].Index <= applied {
			continue
		}
		for _, p := range t.entries[i].Local {
			p.Complete(core.Result{}, err)
		}
	}
}

// leadership is who leads in a term. The leader is zero if none is known.
type leadership struct {
	leader core.MemberID
	term   uint64
}
