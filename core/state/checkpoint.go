package state

import "github.com/triglot/triglot/core"

// checkpointLeases writes down what the leader of this very term knows that leases
// have left, zero being all of it. Leases that are gone are passed over. What is left
// is in the lease's row whether the command asks that it survive a restart or not: so
// it is in etcd, too, since its 3.6.
func (m *Machine) checkpointLeases(c *core.LeaseCheckpoint, term uint64) error {
	if c.Term != term {
		return core.LeaderChanged
	}
	for _, l := range c.Leases {
		left, known, err := m.leases.Checkpoint(l.ID, l.TTL)
		if err != nil {
			return err
		}
		if known {
			m.delta.Checkpoints = append(m.delta.Checkpoints, core.LeaseRemaining{ID: l.ID, TTL: left})
		}
	}
	return nil
}

// changeLeases carries out a command that concerns leases.
func (m *Machine) changeLeases(cmd core.Command, term uint64) (core.Outcome, error) {
	switch c := cmd.(type) {
	case *core.LeaseGrant:
		return m.grant(c)
	case *core.LeaseRevoke:
		return nil, m.revoke(c.ID)
	case *core.LeaseExpire:
		return nil, m.expire(c, term)
	default:
		return nil, m.checkpointLeases(cmd.(*core.LeaseCheckpoint), term)
	}
}
