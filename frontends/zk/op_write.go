package zk

import (
	"bytes"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

var (
	opCreate          = operation{name: "create", decode: decodeCreate(wire.OpCreate), reply: replyPath}
	opCreate2         = operation{name: "create2", decode: decodeCreate(wire.OpCreate2), reply: replyPathStat}
	opCreateContainer = operation{
		name: "createContainer", decode: decodeCreate(wire.OpCreateContainer), reply: replyPathStat,
	}
	opDelete  = operation{name: "delete", decode: decodeDelete, reply: replyNothing}
	opSetData = operation{name: "setData", decode: decodeSetData, reply: replyStat}
)

// single is a ZnodeWrite of one operation, in one allocation.
type single struct {
	core.ZnodeWrite
	op [1]core.ZnodeOp
}

func singleWrite(op core.ZnodeOp) *core.ZnodeWrite {
	s := &single{op: [1]core.ZnodeOp{op}}
	s.Ops = s.op[:]
	return &s.ZnodeWrite
}

// decodeCreate decodes the body that all kinds of create share.
func decodeCreate(code wire.OpCode) func(*conn, *request, *jute.Reader) {
	return func(_ *conn, q *request, r *jute.Reader) {
		var m wire.CreateRequest
		m.Decode(r)
		switch {
		case r.Err() != nil:
		case !m.Flags.Valid():
			q.refuse(wire.BadArguments)
		case m.Flags.TTL():
			q.refuse(wire.Unimplemented) // as where extendedTypesEnabled is false
		default:
			q.cmd = singleWrite(createOp(code, m.Path, m.Data, m.ACL, m.Flags))
		}
	}
}

// createOp is a create of a kind that there is. The opcode alone decides on a
// container: create with the flag of one makes a persistent znode (ZooKeeper 3.9
// PrepRequestProcessor).
func createOp(code wire.OpCode, path string, data []byte, acl []wire.ACL, flags wire.CreateMode) core.ZnodeOp {
	op := core.ZnodeOp{
		Type: core.ZnodeCreate, Path: path,
		Data: bytes.Clone(data), Null: data == nil,
		Sequential: flags.Sequential(),
		OpenACL:    open(acl),
	}
	switch {
	case code == wire.OpCreateContainer:
		op.Kind = core.ZnodeContainer
	case flags.Ephemeral():
		op.Kind = core.ZnodeEphemeral
	}
	return op
}

// open says whether an ACL lets the world do everything, and says nothing else.
// ZooKeeper drops what is said twice (3.9 PrepRequestProcessor.fixupACL).
func open(acl []wire.ACL) bool {
	for i := range acl {
		if acl[i] != wire.OpenACLUnsafe[0] {
			return false
		}
	}
	return len(acl) > 0
}

func decodeDelete(_ *conn, q *request, r *jute.Reader) {
	var m wire.DeleteRequest
	m.Decode(r)
	q.cmd = singleWrite(core.ZnodeOp{Type: core.ZnodeDelete, Path: m.Path, Version: m.Version})
}

func decodeSetData(_ *conn, q *request, r *jute.Reader) {
	var m wire.SetDataRequest
	m.Decode(r)
	q.cmd = singleWrite(setDataOp(m.Path, m.Data, m.Version))
}

func setDataOp(path string, data []byte, version int32) core.ZnodeOp {
	return core.ZnodeOp{
		Type: core.ZnodeSetData, Path: path, Version: version,
		Data: bytes.Clone(data), Null: data == nil,
	}
}

func replyNothing(_ *request, _ core.Outcome, dst []byte) []byte { return dst }

func replyPath(_ *request, o core.Outcome, dst []byte) []byte {
	return jute.AppendUstring(dst, o.(*core.ZnodeOutcome).Ops[0].Path)
}

func replyPathStat(_ *request, o core.Outcome, dst []byte) []byte {
	made := &o.(*core.ZnodeOutcome).Ops[0]
	return appendStat(jute.AppendUstring(dst, made.Path), &made.Stat)
}

func replyStat(_ *request, o core.Outcome, dst []byte) []byte {
	return appendStat(dst, &o.(*core.ZnodeOutcome).Ops[0].Stat)
}
