package state

import (
	"sync/atomic"

	"github.com/triglot/triglot/core"
)

// Op is a kind of command, for those who count them.
type Op uint8

// The kinds.
const (
	OpOther Op = iota
	OpPut
	OpDeleteRange
	OpTxn
	OpCompact
	OpLeaseGrant
	OpLeaseRevoke
	OpLeaseCheckpoint
	OpAlarm
	OpMember
	OpDowngrade
	OpAuth
	OpZnode
	OpSession
	OpCount // how many there are
)

// Tally is how much was done since the last Commit. Its numbers depend on nothing but
// the commands and the state, and nothing in the state depends on them.
type Tally struct {
	// Commands are those applied, by kind; Failed the ones among them that did
	// nothing.
	Commands, Failed [OpCount]int
	// Puts, Deletes and Ranges are the operations, those within transactions included;
	// Txns the transactions with more than one of them.
	Puts, Deletes, Ranges, Txns int
	// PutBytes is the size of the keys and values written.
	PutBytes int64
}

// count counts a command that was run.
func (t *Tally) count(cmd core.Command, out core.Outcome, failed bool) {
	op := opOf(cmd)
	t.Commands[op]++
	if failed {
		t.Failed[op]++
		return
	}
	switch op {
	case OpPut:
		t.Puts++
	case OpDeleteRange:
		t.Deletes++
	case OpTxn:
		before := t.Puts + t.Deletes + t.Ranges
		if txn, ok := out.(core.TxnOutcome); ok {
			t.countOps(&txn)
		}
		if t.Puts+t.Deletes+t.Ranges-before > 1 {
			t.Txns++
		}
	default: // the others are no operations
	}
}

// countOps counts the operations of a transaction. A member that did not need to
// make a range's answer has no outcome for it.
func (t *Tally) countOps(txn *core.TxnOutcome) {
	for i := range txn.Ops {
		switch out := txn.Ops[i].Outcome.(type) {
		case core.PutOutcome:
			t.Puts++
		case core.DeleteOutcome:
			t.Deletes++
		case core.TxnOutcome:
			t.countOps(&out)
		default:
			t.Ranges++
		}
	}
}

// changed counts what a revision changed, and returns by how much the number of keys
// grew, and whether they are the same keys.
func (t *Tally) changed(changes []core.Change) (grown int64, same bool) {
	same = true
	for i := range changes {
		c := &changes[i]
		existed, exists := c.Prev != nil && !c.Prev.Deleted(), !c.KV.Deleted()
		if existed {
			grown--
		}
		if exists {
			grown++
			t.PutBytes += int64(len(c.KV.Key) + len(c.KV.Value))
		}
		same = same && existed && exists
	}
	return grown, same
}

func opOf(cmd core.Command) Op {
	switch cmd.(type) {
	case *core.Put:
		return OpPut
	case *core.DeleteRange:
		return OpDeleteRange
	case *core.Txn:
		return OpTxn
	case *core.Compact:
		return OpCompact
	case *core.LeaseGrant:
		return OpLeaseGrant
	case *core.LeaseRevoke, *core.LeaseExpire:
		return OpLeaseRevoke
	case *core.LeaseCheckpoint:
		return OpLeaseCheckpoint
	case *core.SetAlarm:
		return OpAlarm
	case *core.SetMember, *core.MemberUpdate, *core.MemberAdd, *core.MemberRemove, *core.MemberPromote, *core.HashMark:
		return OpMember
	case *core.SetDowngrade:
		return OpDowngrade
	case *core.ZnodeWrite, *core.ZnodeReap, *core.ZnodeRestore, *core.SetEnsemble:
		return OpZnode
	case *core.SessionOpen, *core.SessionAttach, *core.SessionClose:
		return OpSession
	case *core.AuthEnable, *core.AuthDisable, *core.TokenGrant,
		*core.UserAdd, *core.UserDelete, *core.UserChangePassword, *core.UserGrantRole, *core.UserRevokeRole,
		*core.RoleAdd, *core.RoleDelete, *core.RoleGrantPermission, *core.RoleRevokePermission:
		return OpAuth
	default:
		return OpOther
	}
}

// reads counts what the views of a machine are asked for.
type reads struct{ ranges, txns atomic.Uint64 }
