package zk

import (
	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

var opMulti = operation{
	name: "multi", decode: decodeMulti, reply: replyMulti, run: (*conn).emptyMulti,
}

// decodeMulti makes one command of the operations. The types of those that create
// are kept, because the results differ.
func decodeMulti(_ *conn, q *request, r *jute.Reader) {
	var m wire.MultiRequest
	m.Decode(r)
	if r.Err() != nil || len(m.Ops) == 0 {
		return // one without operations changes nothing and is no command (M3)
	}
	w := &core.ZnodeWrite{Ops: make([]core.ZnodeOp, len(m.Ops)), Multi: true}
	kinds := make([]wire.OpCode, len(m.Ops))
	for i := range m.Ops {
		op := &m.Ops[i]
		kinds[i] = op.Runs()
		switch kinds[i] {
		case wire.OpCreate, wire.OpCreate2, wire.OpCreateContainer:
			w.Ops[i] = createOp(kinds[i], op.Path, op.Data, op.ACL, op.Flags)
			if !op.Flags.Valid() { // BadArguments, as for a path that is not one
				w.Ops[i].Path = ""
			}
		case wire.OpDelete:
			w.Ops[i] = core.ZnodeOp{Type: core.ZnodeDelete, Path: op.Path, Version: op.Version}
		case wire.OpSetData:
			w.Ops[i] = setDataOp(op.Path, op.Data, op.Version)
		case wire.OpCheck:
			w.Ops[i] = core.ZnodeOp{Type: core.ZnodeCheck, Path: op.Path, Version: op.Version}
		case wire.OpCreateTTL:
			q.refuse(wire.Unimplemented)
			return
		default:
			r.Fail(wire.ErrMulti) // reads are for multiRead
			return
		}
	}
	q.cmd, q.body = w, kinds
}

// emptyMulti answers a multi without operations.
func (c *conn) emptyMulti(q *request) error {
	return c.answer(q, c.shown(), wire.OK, (&wire.MultiResponse{}).Append)
}

// replyMulti answers with a result for each operation. If one failed, those before
// it say OK and those behind it RuntimeInconsistency (M2).
func replyMulti(q *request, o core.Outcome, dst []byte) []byte {
	outcome, kinds := o.(*core.ZnodeOutcome), q.body.([]wire.OpCode)
	for i, kind := range kinds {
		result := wire.MultiResult{Op: kind}
		switch {
		case outcome.Ops == nil:
			result = wire.MultiResult{Op: wire.OpError, Err: failedResult(i, outcome)}
		case kind == wire.OpCreate:
			result.Path = outcome.Ops[i].Path
		case kind == wire.OpCreate2, kind == wire.OpCreateContainer:
			result.Op, result.Path = wire.OpCreate2, outcome.Ops[i].Path
			result.Stat = wireStat(&outcome.Ops[i].Stat)
		case kind == wire.OpSetData:
			result.Stat = wireStat(&outcome.Ops[i].Stat)
		}
		dst = result.Append(dst)
	}
	return (&wire.MultiResponse{}).Append(dst)
}

// failedResult is what operation i of a multi that failed says.
func failedResult(i int, outcome *core.ZnodeOutcome) wire.ErrorCode {
	switch {
	case i < outcome.Failed:
		return wire.OK
	case i > outcome.Failed:
		return wire.RuntimeInconsistency
	}
	return kindVerdict(outcome.Err).code
}
