package state

import (
	"github.com/triglot/triglot/core"
)

// writeZnodes runs a ZnodeWrite: it and all that it did are undone if one of its
// operations fails.
func (m *Machine) writeZnodes(c *core.ZnodeWrite, who core.Principal) (core.Outcome, error) {
	if m.znodes == nil {
		return nil, core.Unsupported
	}
	mark := m.w.Mark()
	tx := m.begin(false)
	out, err := m.znodes.Write(&tx, c, m.rights.accounts.Identities(who))
	switch {
	case err != nil:
		m.w.Rollback(mark)
	case out.Err != core.Internal:
		m.w.Rollback(mark)
		m.znodes.Undo()
		return out, nil
	}
	if _, err := m.take(&tx, out, err); err != nil {
		return nil, err
	}
	return out, m.countLists()
}

// setServers runs a SetEnsemble.
func (m *Machine) setServers(c *core.SetEnsemble, who core.Principal) (core.Outcome, error) {
	if m.znodes == nil {
		return nil, core.Unsupported
	}
	tx := m.begin(false)
	stat, err := m.znodes.SetServers(c, m.rights.accounts.Identities(who))
	out := &core.ZnodeOutcome{Ops: []core.ZnodeOpOutcome{{Path: "/zookeeper/config", Stat: stat}}}
	return m.take(&tx, out, err)
}

// reap deletes what the leader of this very term found to be due, as far as it still is,
// each in a revision of its own (X17).
func (m *Machine) reap(c *core.ZnodeReap, term uint64) error {
	switch {
	case c.Term != term:
		return core.LeaderChanged
	case m.znodes == nil:
		return core.Unsupported
	}
	for _, path := range c.Paths {
		tx := m.begin(false)
		if _, err := m.take(&tx, nil, m.znodes.Reap(&tx, path, c.NeverUsed)); err != nil {
			return err
		}
	}
	return nil
}
