package state

import (
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// alarmed refuses what the alarms that stand forbid (etcd T-73, T-75).
func (m *Machine) alarmed(cmd core.Command) error {
	for _, a := range m.alarms {
		switch {
		case a.Type == core.AlarmCorrupt && refusedWhenCorrupt(cmd):
			return core.Corrupt
		case a.Type == core.AlarmNoSpace && NeedsSpace(cmd):
			return core.NoSpace
		}
	}
	return nil
}

// refusedWhenCorrupt reports whether a command changes keys, or what goes with them. That
// nobody asked for it is no difference: neither leases and sessions that are overdue end,
// nor those that say goodbye, and nothing is reaped (etcd 3.7 applierV3Corrupt refuses the
// revocation of overdue leases, too). Members may hold different keys, so whatever goes
// cannot be taken back, while what stays goes once the alarm is cleared; and nobody waits
// in vain for a lock that could be taken. A session is attached to all the same, so that
// its client can read. Members, users and roles change as in etcd.
func refusedWhenCorrupt(cmd core.Command) bool {
	switch cmd.(type) {
	case *core.Put, *core.DeleteRange, *core.Txn, *core.Compact,
		*core.LeaseGrant, *core.LeaseRevoke, *core.LeaseExpire,
		*core.SessionOpen, *core.SessionClose,
		*core.ZnodeWrite, *core.ZnodeRestore, *core.ZnodeReap:
		return true
	}
	return false
}

// NeedsSpace reports whether a command can make the store larger: what the
// NOSPACE alarm refuses, and what counts against the quota. To open a session
// is not among it: a ZooKeeper user knows of no quota and must be able to connect
// in order to delete.
func NeedsSpace(cmd core.Command) bool {
	switch c := cmd.(type) {
	case *core.Put, *core.LeaseGrant:
		return true
	case *core.ZnodeRestore:
		return len(c.Znodes) > 0
	case *core.Txn:
		return putsIn(c.Then) || putsIn(c.Else)
	case *core.ZnodeWrite:
		return slices.ContainsFunc(c.Ops, func(op core.ZnodeOp) bool {
			return op.Type == core.ZnodeCreate || op.Type == core.ZnodeSetData || op.Type == core.ZnodeSetACL
		})
	}
	return false
}

func putsIn(ops []core.Op) bool {
	return slices.ContainsFunc(ops, func(op core.Op) bool {
		return op.Put != nil || (op.Txn != nil && (putsIn(op.Txn.Then) || putsIn(op.Txn.Else)))
	})
}

// dropAlarms clears the alarms that a member raised.
func (m *Machine) dropAlarms(id core.MemberID) {
	left := slices.DeleteFunc(slices.Clone(m.alarms), func(a core.Alarm) bool { return a.Member == id })
	if len(left) != len(m.alarms) {
		m.alarms = left
		m.w.SetRow(row(keys.MetaAlarms), appendAlarms(nil, m.alarms))
	}
}

func (m *Machine) setAlarm(c *core.SetAlarm) (core.Outcome, error) {
	at := slices.Index(m.alarms, c.Alarm)
	switch stood := at >= 0; {
	case stood == c.On:
		return core.AlarmOutcome{Stood: stood}, nil
	case c.On:
		m.alarms = append(slices.Clone(m.alarms), c.Alarm)
	default:
		m.alarms = slices.Delete(slices.Clone(m.alarms), at, at+1)
	}
	m.w.SetRow(row(keys.MetaAlarms), appendAlarms(nil, m.alarms))
	return core.AlarmOutcome{Stood: at >= 0}, nil
}
