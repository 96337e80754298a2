package state

import (
	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// compact gives up the history before a revision, and the ACLs that only it refers to.
func (m *Machine) compact(rev core.Rev) error {
	switch {
	case rev <= m.compacted:
		return core.Compacted
	case rev > m.pos.rev:
		return core.FutureRev
	}
	m.compacted = rev
	m.delta.Compacted = rev
	m.w.SetRow(row(keys.MetaCompacted), appendRev(nil, rev))
	if m.rights.lists > 0 {
		if err := m.acls.Compact(rev); err != nil {
			return err
		}
		return m.countLists()
	}
	return nil
}
