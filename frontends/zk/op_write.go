package zk

import (
	"strings"
	"time"

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
	opCreateTTL = operation{name: "createTTL", decode: decodeCreateTTL, reply: replyPathStat}

	opDelete  = operation{name: "delete", decode: decodeDelete, reply: replyNothing}
	opSetData = operation{name: "setData", decode: decodeSetData, reply: replyStat}
	opSetACL  = operation{name: "setACL", decode: decodeSetACL, reply: replyStat}
)

// newWrite makes a command with room for so many operations. Most have one, which is made
// along with it. Their paths and data may alias the request's frame: the command is encoded
// (core.Lane) before the next is read.
func (c *conn) newWrite(ops int) *core.ZnodeWrite {
	var w *core.ZnodeWrite
	if ops == 1 {
		one := &struct {
			core.ZnodeWrite
			op [1]core.ZnodeOp
		}{}
		one.Ops = one.op[:]
		w = &one.ZnodeWrite
	} else {
		w = &core.ZnodeWrite{Ops: make([]core.ZnodeOp, ops)}
	}
	w.EnforceQuota = c.srv.cfg.Features.EnforceQuota
	return w
}

// single is a command of one operation.
func (c *conn) single(op core.ZnodeOp) *core.ZnodeWrite {
	w := c.newWrite(1)
	w.Ops[0] = op
	return w
}

// decodeCreate decodes the body that all kinds of create share.
func decodeCreate(code wire.OpCode) func(*conn, *request, *jute.Reader) {
	return func(c *conn, q *request, r *jute.Reader) {
		var m wire.CreateRequest
		r.Alias()
		if m.Decode(r); r.Err() == nil {
			c.create(q, code, &m, noTTL)
		}
	}
}

func decodeCreateTTL(c *conn, q *request, r *jute.Reader) {
	var m wire.CreateTTLRequest
	r.Alias()
	if m.Decode(r); r.Err() == nil {
		c.create(q, wire.OpCreateTTL, &m.CreateRequest, m.TTL)
	}
}

// noTTL is the time to live of a create that has none.
const noTTL = -1

// create makes the command of a create, or refuses it.
func (c *conn) create(q *request, code wire.OpCode, m *wire.CreateRequest, ttl int64) {
	if refusal := c.refusesMode(code, m.Flags, ttl); refusal != wire.OK {
		q.refuse(refusal)
		return
	}
	fixed := c.fixupACL(m.ACL)
	if fixed.null && createPath(m.Path) {
		q.refuse(wire.MarshallingError)
		return
	}
	q.cmd = c.single(createOp(code, m.Path, m.Data, fixed, m.Flags, ttl))
}

// refusesMode says what is wrong with the kind of znode that a create asks for, before
// anything else is looked at (ZooKeeper 3.9
// PrepRequestProcessor.validateCreateRequest).
func (c *conn) refusesMode(code wire.OpCode, flags wire.CreateMode, ttl int64) wire.ErrorCode {
	switch {
	case !flags.Valid():
		return wire.BadArguments
	case flags.TTL() && !c.srv.cfg.Features.ExtendedTypes:
		return wire.Unimplemented
	case flags.TTL() && (ttl <= 0 || ttl > wire.MaxTTL):
		return wire.BadArguments
	case !flags.TTL() && (ttl >= 0 || code == wire.OpCreateTTL):
		return wire.BadArguments // without the time ZooKeeper itself would not survive it
	}
	return wire.OK
}

// createPath says whether ZooKeeper looks any further at a create of path (3.9
// PrepRequestProcessor.validatePathForCreate).
func createPath(path string) bool {
	return strings.IndexByte(path, '/') >= 0 && strings.IndexByte(path, 0) < 0
}

// createOp is a create of a kind that there is. The opcode alone decides on a
// container: create with the flag of one makes a persistent znode (ZooKeeper 3.9
// PrepRequestProcessor).
func createOp(
	code wire.OpCode, path string, data []byte, acl fixup, flags wire.CreateMode, ttl int64,
) core.ZnodeOp {
	op := core.ZnodeOp{
		Type: core.ZnodeCreate, Path: path,
		Data: data, Null: data == nil,
		Sequential: flags.Sequential(),
		ACL:        acl.acl, OpenACL: acl.open,
	}
	switch {
	case code == wire.OpCreateContainer:
		op.Kind = core.ZnodeContainer
	case flags.TTL():
		op.Kind, op.TTL = core.ZnodeTTL, time.Duration(ttl)*time.Millisecond
	case flags.Ephemeral():
		op.Kind = core.ZnodeEphemeral
	}
	return op
}

func decodeSetACL(c *conn, q *request, r *jute.Reader) {
	var m wire.SetACLRequest
	r.Alias()
	if m.Decode(r); r.Err() != nil {
		return
	}
	fixed := c.fixupACL(m.ACL)
	if fixed.null && createPath(m.Path) {
		q.refuse(wire.MarshallingError)
		return
	}
	q.cmd = c.single(core.ZnodeOp{
		Type: core.ZnodeSetACL, Path: m.Path, Version: m.Version, ACL: fixed.acl, OpenACL: fixed.open,
	})
}

func decodeDelete(c *conn, q *request, r *jute.Reader) {
	var m wire.DeleteRequest
	r.Alias()
	m.Decode(r)
	q.cmd = c.single(core.ZnodeOp{Type: core.ZnodeDelete, Path: m.Path, Version: m.Version})
}

func decodeSetData(c *conn, q *request, r *jute.Reader) {
	var m wire.SetDataRequest
	r.Alias()
	m.Decode(r)
	q.cmd = c.single(setDataOp(m.Path, m.Data, m.Version))
}

func setDataOp(path string, data []byte, version int32) core.ZnodeOp {
	return core.ZnodeOp{
		Type: core.ZnodeSetData, Path: path, Version: version,
		Data: data, Null: data == nil,
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
