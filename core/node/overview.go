package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
)

// overviewPatience is how long another member may take to give an account of itself.
const overviewPatience = 2 * time.Second

var _ core.Overview = (*Node)(nil)

// Overview implements core.Overview.
func (n *Node) Overview(ctx context.Context, who core.Principal) ([]core.MemberStatus, error) {
	if err := n.requireRoot(ctx, who); err != nil {
		return nil, err
	}
	members, err := n.Members(ctx, false)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, overviewPatience)
	defer cancel()
	all := make([]core.MemberStatus, len(members))
	var asking sync.WaitGroup
	for i, m := range members {
		asking.Go(func() { all[i] = n.statusOf(ctx, m) })
	}
	asking.Wait()
	var committed uint64
	for i := range all {
		committed = max(committed, all[i].Status.Committed)
	}
	for i := range all {
		if all[i].Err == nil {
			all[i].Lag = committed - min(all[i].Status.Applied, committed)
		}
	}
	return all, nil
}

// statusOf asks one member.
func (n *Node) statusOf(ctx context.Context, m core.Member) core.MemberStatus {
	s := core.MemberStatus{Member: m}
	if m.ID == n.disk.id.member {
		s.Status, s.Observer = n.Status(), n.cfg.Members.Observer
		s.Sessions, s.Err = n.countSessions(ctx)
		return s
	}
	asked := time.Now()
	answer, err := n.peers.ask(ctx, m.ID, askStatus, nil)
	if err == nil {
		s.RTT = time.Since(asked)
		err = decodeStatus(&s, answer)
	}
	if err != nil {
		return core.MemberStatus{Member: m, Err: n.whyMute(ctx, m.ID, err)}
	}
	s.Status.ClusterID, s.Status.Member = n.disk.id.cluster, m.ID
	return s
}

// whyMute is why a member did not answer: that there is no way to it says more than that the
// question failed.
func (n *Node) whyMute(ctx context.Context, id core.MemberID, err error) error {
	if broken := n.peers.broken(id); broken != nil {
		return core.Errorf(core.Timeout, "%w", broken)
	}
	if ctx.Err() != nil {
		return core.Errorf(core.Timeout, "no answer within %v", overviewPatience)
	}
	return err
}

func (n *Node) countSessions(ctx context.Context) (int, error) {
	list, err := n.sessions.List(ctx)
	return len(list), err
}

// answerStatus answers askStatus.
func (n *Node) answerStatus(ctx context.Context, _ core.MemberID, _ []byte) ([]byte, error) {
	s := n.statusOf(ctx, core.Member{ID: n.disk.id.member})
	if s.Err != nil {
		return nil, s.Err
	}
	return encodeStatus(&s), nil
}

// The fields of an answer to askStatus, a message of protobuf's wire format. A field that
// a member does not know is passed over.
const (
	statusLeader protowire.Number = 1 + iota
	statusTerm
	statusCommitted
	statusApplied
	statusRev
	statusCompactRev // zigzag
	statusSize
	statusInUse
	statusQuota // zigzag
	statusLearner
	statusObserver
	statusSessions
	statusAlarm // a message: member, type
	statusClusterVersion
	statusDowngradeTo
)

func encodeStatus(s *core.MemberStatus) []byte {
	var b []byte
	number := func(field protowire.Number, n uint64) {
		b = protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
	}
	text := func(field protowire.Number, s string) {
		b = protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
	}
	own := &s.Status
	number(statusLeader, uint64(own.Leader))
	number(statusTerm, own.Term)
	number(statusCommitted, own.Committed)
	number(statusApplied, own.Applied)
	number(statusRev, uint64(own.Rev))
	number(statusCompactRev, protowire.EncodeZigZag(int64(own.CompactRev)))
	number(statusSize, uint64(own.Size))
	number(statusInUse, uint64(own.InUse))
	number(statusQuota, protowire.EncodeZigZag(own.Quota))
	number(statusLearner, protowire.EncodeBool(own.Learner))
	number(statusObserver, protowire.EncodeBool(s.Observer))
	number(statusSessions, uint64(s.Sessions))
	for _, a := range own.Alarms {
		var alarm []byte
		alarm = protowire.AppendVarint(protowire.AppendTag(alarm, 1, protowire.VarintType), uint64(a.Member))
		alarm = protowire.AppendVarint(protowire.AppendTag(alarm, 2, protowire.VarintType), uint64(a.Type))
		text(statusAlarm, string(alarm))
	}
	text(statusClusterVersion, own.ClusterVersion)
	text(statusDowngradeTo, own.DowngradeTo)
	return b
}

func decodeStatus(s *core.MemberStatus, b []byte) error {
	own := &s.Status
	return eachField(b, func(field protowire.Number, n uint64, text []byte) error {
		switch field {
		case statusLeader:
			own.Leader = core.MemberID(n)
		case statusTerm:
			own.Term = n
		case statusCommitted:
			own.Committed = n
		case statusApplied:
			own.Applied = n
		case statusRev:
			own.Rev = core.Rev(n)
		case statusCompactRev:
			own.CompactRev = core.Rev(protowire.DecodeZigZag(n))
		case statusSize:
			own.Size = int64(n)
		case statusInUse:
			own.InUse = int64(n)
		case statusQuota:
			own.Quota = protowire.DecodeZigZag(n)
		case statusLearner:
			own.Learner = n != 0
		case statusObserver:
			s.Observer = n != 0
		case statusSessions:
			s.Sessions = int(n)
		case statusAlarm:
			alarm, err := decodeAlarm(text)
			own.Alarms = append(own.Alarms, alarm)
			return err
		case statusClusterVersion:
			own.ClusterVersion = string(text)
		case statusDowngradeTo:
			own.DowngradeTo = string(text)
		default: // of a later version
		}
		return nil
	})
}

func decodeAlarm(b []byte) (a core.Alarm, err error) {
	err = eachField(b, func(field protowire.Number, n uint64, _ []byte) error {
		switch field {
		case 1:
			a.Member = core.MemberID(n)
		case 2:
			a.Type = core.AlarmType(n)
		default: // of a later version
		}
		return nil
	})
	return a, err
}

// eachField calls fn for each number and each text of a message, and passes over what is
// neither.
func eachField(b []byte, fn func(field protowire.Number, n uint64, text []byte) error) error {
	for len(b) > 0 {
		field, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return fmt.Errorf("a member's account of itself cannot be read: %w", protowire.ParseError(size))
		}
		b = b[size:]
		var n uint64
		var text []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			text, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(field, kind, b)
		}
		if size < 0 {
			return fmt.Errorf("a member's account of itself cannot be read: %w", protowire.ParseError(size))
		}
		b = b[size:]
		if kind != protowire.VarintType && kind != protowire.BytesType {
			continue
		}
		if err := fn(field, n, text); err != nil {
			return err
		}
	}
	return nil
}
