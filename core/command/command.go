// Package command is the encoding of what the members replicate: one command,
// and the raft entry that carries a run of them.
//
// The schema is commandpb/command.proto. The two outer levels, Entry and
// Command, are framed by hand, because each holds nothing but one
// length-delimited field after the other; of the messages within, a ZnodeWrite is
// done by hand too, because it is hot and nests, and the others are vtprotobuf's.
// Golden tests hold all of it to the generated code.
//
// The package owns no state. It never looks at what a command means.
package command

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

// The field numbers of commandpb.Command.
const (
	fieldPut         protowire.Number = 1
	fieldDeleteRange protowire.Number = 2
	fieldTxn         protowire.Number = 3
	fieldCompact     protowire.Number = 4
	fieldLeaseGrant  protowire.Number = 5
	fieldLeaseRevoke protowire.Number = 6
	fieldLeaseExpire protowire.Number = 7
	fieldSetAlarm    protowire.Number = 8
	fieldSetMember   protowire.Number = 9

	fieldZnodeWrite    protowire.Number = 10
	fieldSessionOpen   protowire.Number = 11
	fieldSessionAttach protowire.Number = 12
	fieldSessionClose  protowire.Number = 13

	fieldLeaseCheckpoint protowire.Number = 15
	fieldSetDowngrade    protowire.Number = 16
	fieldMemberUpdate    protowire.Number = 29

	fieldZnodeReap         protowire.Number = 30
	fieldSetZnodeACLPolicy protowire.Number = 31
	fieldZnodeRestore      protowire.Number = 32
)

// MaxTxnDepth bounds how deep transactions nest in a command, so that neither
// the encoder nor the decoder can be made to exhaust the stack. etcd bounds
// nesting by its --max-txn-ops budget alone, 128 by default, which allows 129
// levels; protobuf's own decoders stop at 10 000.
const MaxTxnDepth = 1000

// ErrMalformed is in the chain of every decoding error.
var ErrMalformed = errors.New("malformed command")

// message is what vtprotobuf generates for each message.
type message interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
}

// AppendCommand appends the encoding of c to dst and returns it. c must not nest
// transactions deeper than MaxTxnDepth.
func AppendCommand(dst []byte, c core.Command) []byte {
	switch c := c.(type) {
	case *core.Put:
		return appendPut(dst, c)
	case *core.DeleteRange:
		return appendMessage(dst, fieldDeleteRange, deleteToPB(c))
	case *core.Txn:
		if !nests(c) {
			return appendFlatTxn(dst, c)
		}
		return appendMessage(dst, fieldTxn, txnToPB(c))
	case *core.Compact:
		return appendMessage(dst, fieldCompact, &commandpb.Compact{Rev: int64(c.Rev)})
	case *core.LeaseGrant:
		return appendMessage(dst, fieldLeaseGrant, &commandpb.LeaseGrant{Id: int64(c.ID), TtlMs: c.TTL.Milliseconds()})
	case *core.LeaseRevoke:
		return appendMessage(dst, fieldLeaseRevoke, &commandpb.LeaseRevoke{Id: int64(c.ID)})
	case *core.LeaseExpire:
		return appendMessage(dst, fieldLeaseExpire, leaseExpireToPB(c))
	case *core.SetAlarm:
		return appendMessage(dst, fieldSetAlarm, &commandpb.SetAlarm{Member: uint64(c.Member), Type: uint32(c.Type), On: c.On})
	case *core.SetMember:
		return appendMessage(dst, fieldSetMember, memberToPB(&c.Member))
	case *core.ZnodeWrite:
		return appendZnodeWrite(dst, c)
	case *core.SessionOpen:
		return appendMessage(dst, fieldSessionOpen, &commandpb.SessionOpen{Id: int64(c.ID), TimeoutMs: c.Timeout.Milliseconds(), Secret: c.Secret[:]})
	case *core.SessionAttach:
		return appendMessage(dst, fieldSessionAttach, &commandpb.SessionAttach{Id: int64(c.ID), TimeoutMs: c.Timeout.Milliseconds(), Secret: c.Secret[:]})
	case *core.SessionClose:
		return appendMessage(dst, fieldSessionClose, &commandpb.SessionClose{Session: sessionToPB(c.Session)})
	case *core.LeaseCheckpoint:
		return appendMessage(dst, fieldLeaseCheckpoint, leaseCheckpointToPB(c))
	case *core.SetDowngrade:
		return appendMessage(dst, fieldSetDowngrade, &commandpb.SetDowngrade{Target: c.Target})
	case *core.MemberUpdate:
		return appendMessage(dst, fieldMemberUpdate, &commandpb.MemberUpdate{Id: uint64(c.ID), PeerUrls: c.PeerURLs})
	case *core.ZnodeReap:
		return appendMessage(dst, fieldZnodeReap, reapToPB(c))
	case *core.ZnodeRestore:
		return appendMessage(dst, fieldZnodeRestore, restoreToPB(c))
	case *core.SetZnodeACLPolicy:
		return appendMessage(dst, fieldSetZnodeACLPolicy, &commandpb.SetZnodeACLPolicy{Policy: uint32(c.Policy)})
	default:
		field, m := authFrame(c)
		if field == 0 {
			field, m = memberFrame(c)
		}
		if field == 0 {
			panic(fmt.Sprintf("command: %T is not a command", c))
		}
		return appendMessage(dst, field, m)
	}
}

// appendPut is appendMessage for the hottest command: the message stays on the
// stack because no interface sees it.
func appendPut(dst []byte, p *core.Put) []byte {
	m := putToPB(p) // inlined
	dst, body := appendFrame(dst, fieldPut, m.SizeVT())
	if _, err := m.MarshalToSizedBufferVT(body); err != nil {
		panic(fmt.Sprintf("command: marshal into a buffer of the right size: %v", err))
	}
	return dst
}

func appendMessage(dst []byte, field protowire.Number, m message) []byte {
	dst, body := appendFrame(dst, field, m.SizeVT())
	if _, err := m.MarshalToSizedBufferVT(body); err != nil {
		panic(fmt.Sprintf("command: marshal into a buffer of the right size: %v", err))
	}
	return dst
}

// appendFrame appends a field's tag and length and room for its body.
func appendFrame(dst []byte, field protowire.Number, size int) (whole, body []byte) {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	start := len(dst)
	dst = slices.Grow(dst, size)[:start+size]
	return dst, dst[start:]
}

// DecodeCommand decodes one command. The result aliases b.
func DecodeCommand(b []byte) (core.Command, error) {
	field, body, rest, err := nextField(b)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes after it", ErrMalformed, len(rest))
	}
	c, err := decodeKind(field, body)
	if err == nil && field != fieldZnodeWrite { // whose decoder is ours, and refuses by itself
		err = known.check(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: field %d: %w", ErrMalformed, field, err)
	}
	return c, nil
}

func decodeKind(field protowire.Number, body []byte) (core.Command, error) {
	switch field {
	case fieldPut:
		var m commandpb.Put
		err := m.UnmarshalVTUnsafe(body)
		return putFromPB(&m), err
	case fieldDeleteRange:
		var m commandpb.DeleteRange
		err := m.UnmarshalVTUnsafe(body)
		return deleteFromPB(&m), err
	case fieldTxn:
		return decodeTxn(body)
	case fieldCompact:
		var m commandpb.Compact
		err := m.UnmarshalVTUnsafe(body)
		return &core.Compact{Rev: core.Rev(m.Rev)}, err
	case fieldLeaseGrant, fieldLeaseRevoke, fieldLeaseExpire, fieldLeaseCheckpoint:
		return decodeLease(field, body)
	case fieldSetAlarm:
		var m commandpb.SetAlarm
		err := m.UnmarshalVTUnsafe(body)
		return &core.SetAlarm{
			Alarm: core.Alarm{Member: core.MemberID(m.Member), Type: core.AlarmType(m.Type)},
			On:    m.On,
		}, err
	case fieldSetMember:
		var m commandpb.SetMember
		err := m.UnmarshalVTUnsafe(body)
		return &core.SetMember{Member: memberFromPB(&m)}, err
	case fieldZnodeWrite:
		return decodeZnodeWrite(body)
	case fieldSessionOpen, fieldSessionAttach, fieldSessionClose:
		return decodeSession(field, body)
	case fieldZnodeReap:
		return decodeReap(body)
	case fieldZnodeRestore:
		return decodeRestore(body)
	case fieldSetZnodeACLPolicy:
		var m commandpb.SetZnodeACLPolicy
		err := m.UnmarshalVT(body)
		return &core.SetZnodeACLPolicy{Policy: core.ZnodeACLPolicy(m.Policy)}, err
	case fieldSetDowngrade:
		var m commandpb.SetDowngrade
		err := m.UnmarshalVT(body)
		return &core.SetDowngrade{Target: m.Target}, err
	case fieldMemberUpdate:
		return decodeMemberCommand(field, body)
	default:
		if field >= fieldAuthEnable && field <= fieldTokenGrant {
			return decodeAuth(field, body)
		}
		if field >= fieldMemberAdd && field <= fieldSetEnsemble {
			return decodeMemberCommand(field, body)
		}
		return nil, errors.New("a kind that this version does not know")
	}
}

// decodeLease decodes a command that concerns leases.
func decodeLease(field protowire.Number, body []byte) (core.Command, error) {
	switch field {
	case fieldLeaseGrant:
		var m commandpb.LeaseGrant
		err := m.UnmarshalVTUnsafe(body)
		return &core.LeaseGrant{ID: core.LeaseID(m.Id), TTL: milliseconds(m.TtlMs)}, err
	case fieldLeaseRevoke:
		var m commandpb.LeaseRevoke
		err := m.UnmarshalVTUnsafe(body)
		return &core.LeaseRevoke{ID: core.LeaseID(m.Id)}, err
	case fieldLeaseExpire:
		var m commandpb.LeaseExpire
		err := m.UnmarshalVTUnsafe(body)
		return leaseExpireFromPB(&m), err
	default:
		var m commandpb.LeaseCheckpoint
		err := m.UnmarshalVTUnsafe(body)
		return leaseCheckpointFromPB(&m), err
	}
}

// nextField splits the length-delimited field at the front of b off.
func nextField(b []byte) (field protowire.Number, body, rest []byte, err error) {
	field, wireType, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0, nil, nil, fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
	}
	if wireType != protowire.BytesType {
		return 0, nil, nil, fmt.Errorf("%w: field %d has wire type %d", ErrMalformed, field, wireType)
	}
	body, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return 0, nil, nil, fmt.Errorf("%w: field %d: %w", ErrMalformed, field, protowire.ParseError(m))
	}
	return field, body, b[n+m:], nil
}
