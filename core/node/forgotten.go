package node

import (
	"errors"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/state"
)

// A founder whose data directory is lost is founded anew when nobody is there to say that
// it is known. With its vote a majority could elect a leader that lacks what it had
// acknowledged, as happens with etcd. So the others do not speak to a member that says
// that it is new when they know its name, which it told them when it was not.

// ErrForgotten is the fault of a founding member that has started before, with another
// data directory.
var ErrForgotten = errors.New("the others know this member, but its data directory is new: what it has promised to them is lost with the old one; " +
	"give it that back, or remove the member and add it as a new one, with an empty directory")

// isNew reports whether this member was founded and has never voted nor acknowledged
// anything. It has, durably, before anybody knows its name: that is in an entry which it
// proposes when it has applied another.
func (d *disk) isNew() bool {
	last, err := d.log.LastIndex()
	return err == nil && last <= state.FirstIndex && d.log.HardState().GetTerm() <= state.FirstTerm
}

// hasStarted reports whether this member knows, by its state or by what it has in its log
// and may not know yet to be committed, that another one has started. A member that was
// started again with a majority that was away has it in its log only.
func (d *disk) hasStarted(m *core.Member, applied uint64) (bool, error) {
	if m.Name != "" {
		return true, nil
	}
	last, err := d.log.LastIndex()
	if err != nil {
		return false, err
	}
	named := false
	err = consensus.Replay(d.log, applied+1, last, func(entries []consensus.Committed) error {
		for i := range entries {
			for _, b := range entries[i].Entry.Batches {
				for _, data := range b.Commands {
					cmd, _, err := command.DecodeCommandAs(data)
					if err != nil {
						return err
					}
					set, ok := cmd.(*core.SetMember)
					named = named || ok && set.Member.ID == m.ID
				}
			}
		}
		return nil
	})
	return named, err
}
