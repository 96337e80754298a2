package core

import "time"

// Result is the outcome of a command that was applied.
type Result struct {
	// Rev is the store's revision after the command; the command's own if it
	// changed anything.
	Rev Rev
	// Outcome is what the command has to say, nil if that is nothing.
	Outcome Outcome
}

// Outcome is one of PutOutcome, DeleteOutcome, TxnOutcome, *RangeOutcome,
// LeaseOutcome, AlarmOutcome, *ZnodeOutcome and SessionOutcome; the list is
// closed.
type Outcome interface{ outcome() }

// PutOutcome answers a Put. Prev is nil unless it was asked for and existed.
type PutOutcome struct{ Prev *KV }

// DeleteOutcome answers a DeleteRange. Prev holds the deleted versions in key
// order if they were asked for.
type DeleteOutcome struct {
	Deleted int64
	Prev    []*KV
}

// RangeOutcome answers a Range inside a transaction.
type RangeOutcome struct{ RangeResult }

// TxnOutcome answers a Txn: the branch that ran and one outcome an operation.
type TxnOutcome struct {
	Succeeded bool
	Ops       []OpOutcome
	// TooLarge says that the transaction took effect, and that what its ranges read
	// was too much to keep: Ops lacks it.
	TooLarge bool
}

// OpOutcome is the outcome of one operation of a transaction.
type OpOutcome struct {
	// Rev is the revision in the operation's own header: that of the
	// transaction once it has changed something, that before it until then
	// (etcd T-35).
	Rev     Rev
	Outcome Outcome
}

// LeaseOutcome answers a LeaseGrant with what was granted.
type LeaseOutcome struct {
	ID  LeaseID
	TTL time.Duration
}

// AlarmOutcome answers a SetAlarm: whether the alarm stood before it.
type AlarmOutcome struct{ Stood bool }

func (PutOutcome) outcome()    {}
func (DeleteOutcome) outcome() {}
func (*RangeOutcome) outcome() {}
func (TxnOutcome) outcome()    {}
func (LeaseOutcome) outcome()  {}
func (AlarmOutcome) outcome()  {}
