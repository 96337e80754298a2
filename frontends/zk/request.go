package zk

import (
	"context"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// request is one request of a connection, from its frame to its reply. What it
// asks for is in the fields that its operation knows of.
type request struct {
	xid int32
	op  *operation
	// who makes it, as of when it was read.
	who *identities
	// received is when it came, on the server's clock.
	received time.Duration
	// size is the length of its frame.
	size int

	// failed, unless it is OK, is the reply to a request that is refused as it is.
	failed wire.ErrorCode
	// last closes the connection behind the reply.
	last bool

	path  string
	watch bool
	// body is what else there is, of a type of the operation's own.
	body any
	// cmd is the command of a write, pending that command on its way.
	cmd     core.Command
	pending core.Pending
}

// operation is how requests of one opcode are served: decode, and then one of read,
// reply and run.
type operation struct {
	name string
	// decode reads the body of a request; the reader calls it, in the order in which
	// requests come. For a request to be refused it sets request.failed; bytes that make
	// no sense are the reader's error.
	decode func(c *conn, q *request, r *jute.Reader)

	// read appends the body of the reply as a view has it.
	read func(ctx context.Context, v core.View, q *request, dst []byte) ([]byte, error)
	// watches is what a read that asks to watch watches; missing says that it
	// does so although the znode does not exist (W2).
	watches watchKind
	missing bool

	// reply appends the body of the reply to request.cmd. It makes it a write.
	reply func(q *request, o core.Outcome, dst []byte) []byte

	// run serves everything else; sees says where a write could change what it does.
	run  func(c *conn, q *request) error
	sees sight
}

// sight is what of the store and of the watches a request could see a write at.
type sight uint8

const (
	seesNothing sight = iota
	seesPath          // what is at its path; every read does
	seesAll
)

// operations is the table of what there is. A number that is not in it is answered
// Unimplemented, and the connection closed (ZooKeeper 3.9
// UnimplementedRequestProcessor); so is check, which is an operation of a multi
// only.
var operations = map[wire.OpCode]*operation{
	wire.OpCreate:          &opCreate,
	wire.OpCreate2:         &opCreate2,
	wire.OpCreateContainer: &opCreateContainer,
	wire.OpDelete:          &opDelete,
	wire.OpSetData:         &opSetData,
	wire.OpSetACL:          &opSetACL,
	wire.OpCreateTTL:       &opCreateTTL,
	wire.OpMulti:           &opMulti,
	wire.OpCloseSession:    &opCloseSession,

	wire.OpExists:       &opExists,
	wire.OpGetData:      &opGetData,
	wire.OpGetACL:       &opGetACL,
	wire.OpGetChildren:  &opGetChildren,
	wire.OpGetChildren2: &opGetChildren2,
	wire.OpMultiRead:    &opMultiRead,

	wire.OpGetAllChildrenNumber: &opGetAllChildrenNumber,
	wire.OpGetEphemerals:        &opGetEphemerals,

	wire.OpSync:          &opSync,
	wire.OpPing:          &opPing,
	wire.OpAuth:          &opAuth,
	wire.OpSASL:          &opSASL,
	wire.OpWhoAmI:        &opWhoAmI,
	wire.OpReconfig:      &opReconfig,
	wire.OpAddWatch:      &opAddWatch,
	wire.OpSetWatches:    &opSetWatches,
	wire.OpSetWatches2:   &opSetWatches2,
	wire.OpCheckWatches:  &opCheckWatches,
	wire.OpRemoveWatches: &opRemoveWatches,
}

// opRefused serves requests that were refused before they were looked at.
var opRefused = operation{name: "refused"}

// operationOf finds an operation without hashing for the common ones.
func operationOf(code wire.OpCode) *operation {
	if code >= 0 && int(code) < len(commonOperations) {
		return commonOperations[code]
	}
	return operations[code]
}

// commonOperations are those with small numbers.
var commonOperations = func() (common [wire.OpMultiRead + 1]*operation) {
	for code, op := range operations {
		if code >= 0 && int(code) < len(common) {
			common[code] = op
		}
	}
	return common
}()

// decode makes of a frame a request. It fails if not even the header can be read.
func (q *request) decode(c *conn, frame []byte, r *jute.Reader) error {
	*r = jute.NewReader(frame)
	var header wire.RequestHeader
	header.Decode(r)
	if err := r.Err(); err != nil {
		return err
	}
	c.expanded = 0
	*q = request{xid: header.Xid, op: operationOf(header.Op), who: c.who.Load(), size: len(frame)}
	if !c.admits(header.Op) {
		q.op, q.last = &opTurnedAway, true
		return nil
	}
	if q.op == nil {
		c.unknownOperation(header.Op)
		q.refuse(wire.Unimplemented)
		q.last = true
		return nil
	}
	if c.local && c.decidedLocally(q) || q.op.decode == nil {
		return nil
	}
	if q.op.decode(c, q, r); r.Err() != nil {
		if q.op == &opAuth || q.op == &opSASL {
			return r.Err() // ZooKeeper 3.9 ZooKeeperServer.processPacket: no reply
		}
		q.refuse(wire.MarshallingError)
	}
	return nil
}

// refuse has the request answered with an error.
func (q *request) refuse(code wire.ErrorCode) {
	q.op, q.failed = &opRefused, code
	q.cmd, q.body = nil, nil
}

// everywhere stands for any path where a request could see a write.
const everywhere = "everywhere" // no znode's path: it has no slash

// sees is the path at which q could see a write, ok whether there is any.
func (q *request) sees() (path string, ok bool) {
	switch {
	case q.op.sees == seesAll:
		return everywhere, true
	case q.op.read == nil && q.op.sees == seesNothing:
		return "", false
	case q.path == "":
		return "/", true // to reads it is the same
	default:
		return q.path, true
	}
}

// write says whether q goes to the store as a command.
func (q *request) write() bool { return q.cmd != nil }
