package command

import (
	"errors"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

// The functions of this file translate field by field between the contract's
// types and the schema's.

func putToPB(p *core.Put) *commandpb.Put {
	return &commandpb.Put{
		Key:         p.Key,
		Value:       p.Value,
		Lease:       int64(p.Lease),
		PrevKv:      p.PrevKV,
		IgnoreValue: p.IgnoreValue,
		IgnoreLease: p.IgnoreLease,
	}
}

func putFromPB(m *commandpb.Put) *core.Put {
	return &core.Put{
		Key:         m.Key,
		Value:       m.Value,
		Lease:       core.LeaseID(m.Lease),
		PrevKV:      m.PrevKv,
		IgnoreValue: m.IgnoreValue,
		IgnoreLease: m.IgnoreLease,
	}
}

func deleteToPB(d *core.DeleteRange) *commandpb.DeleteRange {
	return &commandpb.DeleteRange{Key: d.Key, End: d.End, PrevKv: d.PrevKV}
}

func deleteFromPB(m *commandpb.DeleteRange) *core.DeleteRange {
	return &core.DeleteRange{Interval: core.Interval{Key: m.Key, End: m.End}, PrevKV: m.PrevKv}
}

func rangeToPB(r *core.Range) *commandpb.Range {
	return &commandpb.Range{
		Key:          r.Key,
		End:          r.End,
		Rev:          int64(r.Rev),
		Limit:        r.Limit,
		SortTarget:   uint32(r.SortTarget),
		SortOrder:    uint32(r.SortOrder),
		KeysOnly:     r.KeysOnly,
		CountOnly:    r.CountOnly,
		MinModRev:    int64(r.MinModRev),
		MaxModRev:    int64(r.MaxModRev),
		MinCreateRev: int64(r.MinCreateRev),
		MaxCreateRev: int64(r.MaxCreateRev),
	}
}

func rangeFromPB(m *commandpb.Range) *core.Range {
	return &core.Range{
		Interval:     core.Interval{Key: m.Key, End: m.End},
		Rev:          core.Rev(m.Rev),
		Limit:        m.Limit,
		SortTarget:   core.SortTarget(m.SortTarget),
		SortOrder:    core.SortOrder(m.SortOrder),
		KeysOnly:     m.KeysOnly,
		CountOnly:    m.CountOnly,
		MinModRev:    core.Rev(m.MinModRev),
		MaxModRev:    core.Rev(m.MaxModRev),
		MinCreateRev: core.Rev(m.MinCreateRev),
		MaxCreateRev: core.Rev(m.MaxCreateRev),
	}
}

func txnToPB(t *core.Txn) *commandpb.Txn {
	m := &commandpb.Txn{Then: opsToPB(t.Then), Else: opsToPB(t.Else)}
	for i := range t.Compares {
		c := &t.Compares[i]
		m.Compares = append(m.Compares, &commandpb.Compare{
			Key:    c.Key,
			End:    c.End,
			Target: uint32(c.Target),
			Result: uint32(c.Result),
			Number: c.Number,
			Value:  c.Value,
		})
	}
	return m
}

func opsToPB(ops []core.Op) []*commandpb.Op {
	if len(ops) == 0 {
		return nil
	}
	out := make([]*commandpb.Op, len(ops))
	for i := range ops {
		switch op := &ops[i]; {
		case op.Range != nil:
			out[i] = &commandpb.Op{Kind: &commandpb.Op_Range{Range: rangeToPB(op.Range)}}
		case op.Put != nil:
			out[i] = &commandpb.Op{Kind: &commandpb.Op_Put{Put: putToPB(op.Put)}}
		case op.Delete != nil:
			out[i] = &commandpb.Op{Kind: &commandpb.Op_DeleteRange{DeleteRange: deleteToPB(op.Delete)}}
		case op.Txn != nil:
			out[i] = &commandpb.Op{Kind: &commandpb.Op_Txn{Txn: txnToPB(op.Txn)}}
		default:
			panic("command: an operation without a kind")
		}
	}
	return out
}

var (
	errOpWithoutKind = errors.New("an operation without a kind")
	errTooDeep       = errors.New("transactions nest too deep")
)

// TooDeep reports whether t nests transactions deeper than MaxTxnDepth: then it
// must not be encoded, for no member could decode it.
func TooDeep(t *core.Txn) bool { return deeper(t, MaxTxnDepth) }

func deeper(t *core.Txn, than int) bool {
	if than == 0 {
		return true
	}
	for _, branch := range [2][]core.Op{t.Then, t.Else} {
		for i := range branch {
			if nested := branch[i].Txn; nested != nil && deeper(nested, than-1) {
				return true
			}
		}
	}
	return false
}

// decodeTxn checks the nesting before it hands body to the generated decoder,
// which recurses without a bound.
func decodeTxn(body []byte) (*core.Txn, error) {
	if t, ok := decodeFlatTxn(body); ok {
		return t, nil
	}
	if err := checkDepth(body, 1); err != nil {
		return nil, err
	}
	var m commandpb.Txn
	if err := m.UnmarshalVTUnsafe(body); err != nil {
		return nil, err
	}
	return txnFromPB(&m)
}

// The field numbers by which an encoded Txn nests: its two branches, and the
// transaction within an Op.
const (
	fieldTxnThen protowire.Number = 2
	fieldTxnElse protowire.Number = 3
	fieldOpTxn   protowire.Number = 4
)

func checkDepth(txn []byte, depth int) error {
	if depth > MaxTxnDepth {
		return errTooDeep
	}
	return eachBytesField(txn, func(field protowire.Number, op []byte) error {
		if field != fieldTxnThen && field != fieldTxnElse {
			return nil
		}
		return eachBytesField(op, func(field protowire.Number, nested []byte) error {
			if field != fieldOpTxn {
				return nil
			}
			return checkDepth(nested, depth+1)
		})
	})
}

func eachBytesField(b []byte, fn func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		field, wireType, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		m := protowire.ConsumeFieldValue(field, wireType, b)
		if m < 0 {
			return protowire.ParseError(m)
		}
		if wireType == protowire.BytesType {
			body, _ := protowire.ConsumeBytes(b)
			if err := fn(field, body); err != nil {
				return err
			}
		}
		b = b[m:]
	}
	return nil
}

func txnFromPB(m *commandpb.Txn) (*core.Txn, error) {
	t := &core.Txn{}
	for _, c := range m.Compares {
		t.Compares = append(t.Compares, core.Compare{
			Interval: core.Interval{Key: c.Key, End: c.End},
			Target:   core.CompareTarget(c.Target),
			Result:   core.CompareResult(c.Result),
			Number:   c.Number,
			Value:    c.Value,
		})
	}
	var err error
	if t.Then, err = opsFromPB(m.Then); err != nil {
		return nil, err
	}
	if t.Else, err = opsFromPB(m.Else); err != nil {
		return nil, err
	}
	return t, nil
}

func opsFromPB(ms []*commandpb.Op) ([]core.Op, error) {
	if len(ms) == 0 {
		return nil, nil
	}
	ops := make([]core.Op, len(ms))
	for i, m := range ms {
		switch k := m.Kind.(type) {
		case *commandpb.Op_Range:
			ops[i].Range = rangeFromPB(k.Range)
		case *commandpb.Op_Put:
			ops[i].Put = putFromPB(k.Put)
		case *commandpb.Op_DeleteRange:
			ops[i].Delete = deleteFromPB(k.DeleteRange)
		case *commandpb.Op_Txn:
			t, err := txnFromPB(k.Txn)
			if err != nil {
				return nil, err
			}
			ops[i].Txn = t
		default:
			return nil, errOpWithoutKind
		}
	}
	return ops, nil
}

func leaseExpireToPB(c *core.LeaseExpire) *commandpb.LeaseExpire {
	m := &commandpb.LeaseExpire{Ids: make([]int64, len(c.IDs)), Term: c.Term, AsOf: c.AsOf}
	for i, id := range c.IDs {
		m.Ids[i] = int64(id)
	}
	return m
}

func leaseExpireFromPB(m *commandpb.LeaseExpire) *core.LeaseExpire {
	c := &core.LeaseExpire{IDs: make([]core.LeaseID, len(m.Ids)), Term: m.Term, AsOf: m.AsOf}
	for i, id := range m.Ids {
		c.IDs[i] = core.LeaseID(id)
	}
	return c
}

func leaseCheckpointToPB(c *core.LeaseCheckpoint) *commandpb.LeaseCheckpoint {
	m := &commandpb.LeaseCheckpoint{Persist: c.Persist, Term: c.Term, Leases: make([]*commandpb.LeaseRemaining, len(c.Leases))}
	for i, l := range c.Leases {
		m.Leases[i] = &commandpb.LeaseRemaining{Id: int64(l.ID), TtlMs: l.TTL.Milliseconds()}
	}
	return m
}

func leaseCheckpointFromPB(m *commandpb.LeaseCheckpoint) *core.LeaseCheckpoint {
	c := &core.LeaseCheckpoint{Persist: m.Persist, Term: m.Term, Leases: make([]core.LeaseRemaining, len(m.Leases))}
	for i, l := range m.Leases {
		c.Leases[i] = core.LeaseRemaining{ID: core.LeaseID(l.Id), TTL: milliseconds(l.TtlMs)}
	}
	return c
}

func memberToPB(m *core.Member) *commandpb.SetMember {
	return &commandpb.SetMember{
		Id:         uint64(m.ID),
		Name:       m.Name,
		PeerUrls:   m.PeerURLs,
		ClientUrls: m.ClientURLs,
		Learner:    m.Learner,
	}
}

func memberFromPB(m *commandpb.SetMember) core.Member {
	return core.Member{
		ID:         core.MemberID(m.Id),
		Name:       m.Name,
		PeerURLs:   m.PeerUrls,
		ClientURLs: m.ClientUrls,
		Learner:    m.Learner,
	}
}

// AppendMember appends the encoding of m, as SetMember carries it and as the
// store keeps it.
func AppendMember(dst []byte, m *core.Member) []byte {
	pb := memberToPB(m)
	start := len(dst)
	dst = append(dst, make([]byte, pb.SizeVT())...)
	if _, err := pb.MarshalToSizedBufferVT(dst[start:]); err != nil {
		panic("command: marshal into a buffer of the right size: " + err.Error())
	}
	return dst
}

// DecodeMember decodes what AppendMember made. The result does not alias b.
func DecodeMember(b []byte) (core.Member, error) {
	var m commandpb.SetMember
	if err := m.UnmarshalVT(b); err != nil {
		return core.Member{}, errors.Join(ErrMalformed, err)
	}
	return memberFromPB(&m), nil
}

// milliseconds converts without overflow: a Duration holds 292 years.
func milliseconds(ms int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Millisecond)
	return time.Duration(min(max(ms, -most), most)) * time.Millisecond
}

func reapToPB(c *core.ZnodeReap) *commandpb.ZnodeReap {
	m := &commandpb.ZnodeReap{NeverUsedMs: c.NeverUsed.Milliseconds(), Term: c.Term}
	for _, path := range c.Paths {
		m.Paths = append(m.Paths, []byte(path))
	}
	return m
}

func decodeReap(body []byte) (*core.ZnodeReap, error) {
	var m commandpb.ZnodeReap
	err := m.UnmarshalVTUnsafe(body)
	c := &core.ZnodeReap{NeverUsed: milliseconds(m.NeverUsedMs), Term: m.Term}
	for _, path := range m.Paths {
		c.Paths = append(c.Paths, string(path))
	}
	return c, err
}
