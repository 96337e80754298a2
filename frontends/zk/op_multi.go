package zk

import (
	"context"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

var (
	opMulti = operation{
		name: "multi", decode: decodeMulti, reply: replyMulti, run: (*conn).emptyMulti,
	}
	opMultiRead    = operation{name: "multiRead", decode: decodeMultiRead, read: readMulti, sees: seesAll}
	opMultiNotRead = operation{name: "multiRead", run: (*conn).refuseMultiRead}
)

// part is one operation of a multi: which, because the results differ, and what it
// fails with, unless that is OK, for a reason that apply does not know of.
type part struct {
	kind    wire.OpCode
	refusal wire.ErrorCode
}

// keptParts is how many operations of multis a connection keeps memory for, less than two
// kilobytes, for as long as it is there.
const keptParts = 16

// decodeMulti makes one command of the operations.
func decodeMulti(c *conn, q *request, r *jute.Reader) {
	m := &c.multi
	r.Alias() // see newWrite
	m.Decode(r)
	defer c.clearMulti()
	if r.Err() != nil || len(m.Ops) == 0 {
		return // one without operations changes nothing and is no command (M3)
	}
	w := c.newWrite(len(m.Ops))
	w.Multi = true
	parts := make([]part, len(m.Ops))
	for i := range m.Ops {
		op := &m.Ops[i]
		parts[i].kind = op.Runs()
		switch parts[i].kind {
		case wire.OpCreate, wire.OpCreate2, wire.OpCreateContainer, wire.OpCreateTTL:
			w.Ops[i], parts[i].refusal = c.createPart(op)
		case wire.OpDelete:
			w.Ops[i] = core.ZnodeOp{Type: core.ZnodeDelete, Path: op.Path, Version: op.Version}
		case wire.OpSetData:
			w.Ops[i] = setDataOp(op.Path, op.Data, op.Version)
		case wire.OpCheck:
			w.Ops[i] = core.ZnodeOp{Type: core.ZnodeCheck, Path: op.Path, Version: op.Version}
		default:
			r.Fail(wire.ErrMulti) // reads are for multiRead
			return
		}
		if parts[i].refusal == wire.MarshallingError {
			q.refuse(wire.MarshallingError) // the multi's, not the part's
			return
		}
	}
	q.cmd, q.body = w, parts
}

// clearMulti lets go of what the multi refers to, and of much memory.
func (c *conn) clearMulti() {
	if clear(c.multi.Ops); cap(c.multi.Ops) > keptParts {
		c.multi.Ops = nil
	}
}

// createPart is a create in a multi. One that is refused is a create of no path, at
// which the multi fails unless it has failed before.
func (c *conn) createPart(m *wire.MultiOp) (core.ZnodeOp, wire.ErrorCode) {
	code, ttl := m.Runs(), int64(noTTL)
	if code == wire.OpCreateTTL {
		ttl = m.TTL
	}
	if refusal := c.refusesMode(code, m.Flags, ttl); refusal != wire.OK {
		return core.ZnodeOp{Type: core.ZnodeCreate}, refusal
	}
	fixed := c.fixupACL(m.ACL)
	if fixed.null && createPath(m.Path) {
		return core.ZnodeOp{}, wire.MarshallingError
	}
	return createOp(code, m.Path, m.Data, fixed, m.Flags, ttl), wire.OK
}

// emptyMulti answers a multi without operations.
func (c *conn) emptyMulti(q *request) error {
	return c.answer(q, c.shown(), wire.OK, (&wire.MultiResponse{}).Append)
}

// replyMulti answers with a result for each operation. If one failed, those before
// it say OK and those behind it RuntimeInconsistency (M2).
func replyMulti(q *request, o core.Outcome, dst []byte) []byte {
	outcome, parts := o.(*core.ZnodeOutcome), q.body.([]part)
	for i, part := range parts {
		if part.kind == wire.OpSetData && outcome.Ops != nil { // most have nothing else
			dst = (&wire.MultiHeader{Op: wire.OpSetData}).Append(dst)
			dst = appendStat(dst, &outcome.Ops[i].Stat)
			continue
		}
		result := wire.MultiResult{Op: part.kind}
		switch {
		case outcome.Ops == nil:
			result = wire.MultiResult{Op: wire.OpError, Err: failedResult(i, part, outcome)}
		case part.kind == wire.OpCreate:
			result.Path = outcome.Ops[i].Path
		case part.kind == wire.OpCreate2, part.kind == wire.OpCreateContainer, part.kind == wire.OpCreateTTL:
			result.Op, result.Path = wire.OpCreate2, outcome.Ops[i].Path
			result.Stat = wireStat(&outcome.Ops[i].Stat)
		}
		dst = result.Append(dst)
	}
	return (&wire.MultiResponse{}).Append(dst)
}

// failedResult is what operation i of a multi that failed says.
func failedResult(i int, p part, outcome *core.ZnodeOutcome) wire.ErrorCode {
	switch {
	case i < outcome.Failed:
		return wire.OK
	case i > outcome.Failed:
		return wire.RuntimeInconsistency
	case p.refusal != wire.OK:
		return p.refusal
	}
	return kindVerdict(outcome.Err).code
}

// maxMultiRead is how much a multiRead may read, in frames of the longest size that a
// client may send: a request that is small can name the same large znode some ten thousand
// times. Beyond it no more is read.
const maxMultiRead = 4

// multiRead is the body of one, and how many bytes the reply may have.
type multiRead struct {
	wire.MultiRequest
	limit int
}

// decodeMultiRead decodes a multi of reads. Their watches do not count (ZooKeeper 3.9
// MultiOperationRecord).
func decodeMultiRead(c *conn, q *request, r *jute.Reader) {
	m := &multiRead{limit: maxMultiRead * c.srv.cfg.Limits.MaxFrame}
	m.Decode(r)
	if r.Err() == nil && len(m.Ops) > 0 && !m.Ops[0].Reads() {
		q.op = &opMultiNotRead
	}
	q.body = m
}

// refuseMultiRead answers a multiRead of writes. ZooKeeper 3.9 has no results behind the
// error, but their end.
func (c *conn) refuseMultiRead(q *request) error {
	return c.answer(q, c.shown(), wire.MarshallingError, (&wire.MultiResponse{}).Append)
}

// readMulti answers each read for itself, whatever becomes of the others (ZooKeeper 3.9
// FinalRequestProcessor).
func readMulti(ctx context.Context, v core.View, q *request, dst []byte) ([]byte, error) {
	m := q.body.(*multiRead)
	for _, op := range m.Ops {
		start := len(dst)
		if start > m.limit {
			return dst, core.Errorf(core.RequestTooLarge, "what a multiRead reads exceeds %d bytes", m.limit)
		}
		dst = (&wire.MultiHeader{Op: op.Op}).Append(dst)
		one := request{path: op.Path}
		var err error
		if op.Op == wire.OpGetData {
			dst, err = readData(ctx, v, &one, dst)
		} else {
			dst, err = readChildren(ctx, v, &one, dst)
		}
		if err == nil {
			continue
		}
		verdict := verdictOf(err)
		if verdict.silent {
			return dst, err
		}
		dst = (&wire.MultiResult{Op: wire.OpError, Err: verdict.code}).Append(dst[:start])
	}
	return (&wire.MultiResponse{}).Append(dst), nil
}
