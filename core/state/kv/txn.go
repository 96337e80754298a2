package kv

import (
	"context"

	"github.com/triglot/triglot/core"
)

// plan is the branch that a transaction takes, with the plans of the
// transactions nested in it. It is made before anything is written, because
// every compare looks at the state before the transaction (etcd T-33).
type plan struct {
	ops       []core.Op
	succeeded bool
	nested    []*plan // one for each op that is a transaction, in order
}

func makePlan(r Reader, t *core.Txn) (*plan, error) {
	ok, err := holdAll(r, t.Compares)
	if err != nil {
		return nil, err
	}
	p := &plan{ops: t.Then, succeeded: ok}
	if !ok {
		p.ops = t.Else
	}
	for i := range p.ops {
		if p.ops[i].Txn == nil {
			continue
		}
		nested, err := makePlan(r, p.ops[i].Txn)
		if err != nil {
			return nil, err
		}
		p.nested = append(p.nested, nested)
	}
	return p, nil
}

// check finds what would make the plan fail, on the state before it
// (etcd T-32).
func (p *plan) check(r Reader, b Bounds, l Leases) error {
	nested := p.nested
	for i := range p.ops {
		var err error
		switch op := &p.ops[i]; {
		case op.Range != nil:
			err = b.checkInTxn(op.Range.Rev)
		case op.Put != nil:
			_, err = checkPut(r, l, op.Put)
		case op.Txn != nil:
			err = nested[0].check(r, b, l)
			nested = nested[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ReadTxn evaluates a transaction that is ReadOnly.
func ReadTxn(ctx context.Context, r Reader, b Bounds, t *core.Txn) (core.TxnOutcome, error) {
	p, err := makePlan(r, t)
	if err != nil {
		return core.TxnOutcome{}, err
	}
	if err := p.check(r, b, nil); err != nil {
		return core.TxnOutcome{}, err
	}
	out := core.TxnOutcome{Succeeded: p.succeeded, Ops: make([]core.OpOutcome, len(p.ops))}
	for i := range p.ops {
		res, err := Range(ctx, r, b, p.ops[i].Range)
		if err != nil {
			return core.TxnOutcome{}, err
		}
		out.Ops[i] = core.OpOutcome{Rev: b.Rev, Outcome: &core.RangeOutcome{RangeResult: res}}
	}
	return out, nil
}

// Txn runs a transaction. If it fails, Changes is empty but the writer may hold
// rows: the caller rolls it back to where the transaction began.
func (tx *Tx) Txn(t *core.Txn) (core.TxnOutcome, error) {
	p, err := makePlan(tx.sees, t)
	if err != nil {
		return core.TxnOutcome{}, err
	}
	if err := p.check(tx.w, tx.bounds, tx.leases); err != nil {
		return core.TxnOutcome{}, err
	}
	out, err := tx.run(p)
	if err != nil {
		tx.changes = nil
	}
	out.TooLarge = tx.readBytes > MaxTxnReadBytes
	return out, err
}

func (tx *Tx) run(p *plan) (core.TxnOutcome, error) {
	out := core.TxnOutcome{Succeeded: p.succeeded, Ops: make([]core.OpOutcome, len(p.ops))}
	nested := p.nested
	for i := range p.ops {
		var outcome core.Outcome
		var err error
		switch op := &p.ops[i]; {
		case op.Range != nil:
			outcome, err = tx.read(op.Range)
		case op.Put != nil:
			outcome, err = tx.Put(op.Put)
		case op.Delete != nil:
			outcome, err = tx.DeleteRange(op.Delete)
		case op.Txn != nil:
			outcome, err = tx.run(nested[0])
			nested = nested[1:]
		}
		if err != nil {
			return core.TxnOutcome{}, err
		}
		out.Ops[i] = core.OpOutcome{Rev: tx.Rev(), Outcome: outcome}
	}
	return out, nil
}

// read runs a range within a transaction: it sees what the transaction has
// written so far (etcd T-35).
func (tx *Tx) read(q *core.Range) (core.Outcome, error) {
	if !tx.reads {
		return nil, nil
	}
	if tx.readBytes > MaxTxnReadBytes {
		return nil, nil
	}
	// The reads of a transaction must not end halfway on one member alone: no context,
	// and no error for what is too large.
	b := Bounds{Rev: tx.Rev(), Compact: tx.bounds.Compact}
	bounded := *q
	bounded.Grow = func(n int) error {
		if tx.readBytes += n; tx.readBytes > MaxTxnReadBytes {
			return core.RequestTooLarge
		}
		return nil
	}
	res, err := Range(context.Background(), tx.sees, b, &bounded)
	switch {
	case tx.readBytes > MaxTxnReadBytes:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &core.RangeOutcome{RangeResult: res}, nil
}

// MaxTxnReadBytes is what the ranges of a transaction that also writes may read
// together: apply waits for it.
const MaxTxnReadBytes = 256 << 20
