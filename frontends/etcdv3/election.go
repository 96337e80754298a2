package etcdv3

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/core"
	epb "github.com/triglot/triglot/frontends/etcdv3/v3electionpb"
)

// What etcd says of elections besides its errors of the store.
var (
	errNoLeaderKey = status.Error(codes.Unknown, `"leader" field must be provided`)
	errNoLeader    = status.Error(codes.Unknown, "election: no leader")
	errNotLeader   = status.Error(codes.Unknown, "election: not leader")
)

// electionServer is etcd's Election service (etcd T-86).
type electionServer struct{ *face }

func (f *face) election() service {
	s := electionServer{f}
	return service{
		desc: epb.Election_ServiceDesc,
		unary: map[string]grpc.MethodHandler{
			"Campaign": asClient(f, s.campaign),
			"Proclaim": asClient(f, s.proclaim),
			"Leader":   asClient(f, s.leader),
			"Resign":   asClient(f, s.resign),
		},
		streams: map[string]grpc.StreamHandler{
			"Observe": streaming(f, s.observe),
		},
	}
}

// campaign waits until the caller leads. A caller who stops waiting is no candidate
// any more. One who is a candidate already, or leads, only sets another value.
func (s electionServer) campaign(ctx context.Context, r *epb.CampaignRequest) (*epb.CampaignResponse, error) {
	p, found, err := s.enter(ctx, r.Name, r.Lease, r.Value)
	if err != nil {
		return nil, err
	}
	if found.old != nil && string(found.old.Value) != string(r.Value) {
		_, err = s.proclaimAt(ctx, p, r.Value)
	}
	if err == nil && !found.first {
		if _, err = p.wait(ctx); errors.Is(err, errGone) {
			err = errNotLeader
		}
	}
	if err != nil {
		p.abandon(ctx)
		return nil, err
	}
	return &epb.CampaignResponse{
		Header: s.header(found.rev),
		Leader: &epb.LeaderKey{Name: r.Name, Key: p.key, Rev: int64(p.rev), Lease: int64(p.lease)},
	}, nil
}

func (s electionServer) proclaim(ctx context.Context, r *epb.ProclaimRequest) (*epb.ProclaimResponse, error) {
	p, err := s.placeOf(r.Leader)
	if err != nil {
		return nil, err
	}
	if p.lease, err = s.leaseFor(ctx, r.Leader.Lease); err != nil {
		return nil, err
	}
	rev, err := s.proclaimAt(ctx, p, r.Value)
	if err != nil {
		return nil, err
	}
	return &epb.ProclaimResponse{Header: s.header(rev)}, nil
}

// proclaimAt sets the value of one who holds a place.
func (s electionServer) proclaimAt(ctx context.Context, p *place, value []byte) (core.Rev, error) {
	out, rev, err := s.transact(ctx, &core.Txn{
		Compares: createdIn(p.key, p.rev),
		Then:     []core.Op{{Put: &core.Put{Key: p.key, Value: value, Lease: p.lease}}},
	})
	if err == nil && !out.Succeeded {
		err = errNotLeader
	}
	return rev, err
}

// resign does nothing if the leadership is over.
func (s electionServer) resign(ctx context.Context, r *epb.ResignRequest) (*epb.ResignResponse, error) {
	p, err := s.placeOf(r.Leader)
	if err != nil {
		return nil, err
	}
	rev, err := p.leave(ctx)
	if err != nil {
		return nil, err
	}
	return &epb.ResignResponse{Header: s.header(rev)}, nil
}

// placeOf is the place that a leadership is.
func (s electionServer) placeOf(l *epb.LeaderKey) (*place, error) {
	switch {
	case l == nil:
		return nil, errNoLeaderKey
	case len(l.Key) == 0:
		return nil, core.KeyEmpty
	}
	return &place{face: s.face, key: l.Key, rev: core.Rev(l.Rev), lease: core.LeaseID(l.Lease)}, nil
}

func (s electionServer) leader(ctx context.Context, r *epb.LeaderRequest) (*epb.LeaderResponse, error) {
	kv, rev, err := s.leaderOf(ctx, queueOf(r.Name))
	if err != nil {
		return nil, err
	}
	if kv == nil {
		return nil, errNoLeader
	}
	return s.leaderResponse(kv, rev), nil
}

// leaderOf is the leader, nil if there is none, and the revision as of which.
func (s electionServer) leaderOf(ctx context.Context, queue core.Interval) (*core.KV, core.Rev, error) {
	view, err := s.view(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer view.Close()
	res, err := view.Range(ctx, oldestIn(queue))
	if err != nil || len(res.KVs) == 0 {
		return nil, view.Rev(), err
	}
	return res.KVs[0], view.Rev(), nil
}

func (s electionServer) leaderResponse(kv *core.KV, rev core.Rev) *epb.LeaderResponse {
	return &epb.LeaderResponse{Header: s.header(rev), Kv: kvOf(kv)}
}

type observeConn = stream[epb.LeaderRequest, epb.LeaderResponse]

// observe tells what leaders there are and what they proclaim. One that comes and
// goes while another's end is awaited is left out. etcd ends the stream without an
// error where it may not read.
func (s electionServer) observe(ctx context.Context, conn observeConn) error {
	r, err := conn.Recv()
	if err != nil {
		return err
	}
	for err == nil {
		err = s.observeOne(ctx, conn, queueOf(r.Name))
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case watchRefusal(err) != "":
		return nil
	default:
		return err
	}
}

// observeOne tells of the present leader, or the next if there is none, and of what
// it proclaims, until it leads no more.
func (s electionServer) observeOne(ctx context.Context, conn observeConn, queue core.Interval) error {
	kv, rev, err := s.leaderOf(ctx, queue)
	if err != nil {
		return err
	}
	if kv == nil {
		err := s.follow(ctx, queue, rev, func(change *core.KV, _ core.Rev) (bool, error) {
			if change.Deleted() {
				return true, nil
			}
			kv, rev = change, change.ModRev
			return false, nil
		})
		if err != nil || kv == nil {
			return err
		}
	}
	if err := conn.Send(s.leaderResponse(kv, rev)); err != nil {
		return err
	}
	return s.follow(ctx, core.Interval{Key: kv.Key}, rev, func(change *core.KV, at core.Rev) (bool, error) {
		if change.Deleted() {
			return false, nil
		}
		return true, conn.Send(s.leaderResponse(change, at))
	})
}

// follow calls each with every change of some keys after rev, and the revision that
// is told with it, until that does not want more. It also ends if changes have been
// compacted that it has not told of, and fails with PermissionDenied if there is one that
// the caller may not be told of.
func (s electionServer) follow(
	ctx context.Context, keys core.Interval, rev core.Rev, each func(*core.KV, core.Rev) (more bool, err error),
) error {
	feed, err := s.Store.Watch(ctx)
	if err != nil {
		return err
	}
	defer feed.Close()
	feed.Add(1, core.WatchSpec{Interval: keys, Start: rev + 1})
	for {
		d, err := feed.Next(ctx)
		if err != nil || d.Kind == core.DeliverCompacted {
			return err
		}
		who, err := s.principal(ctx)
		if err != nil {
			return err
		}
		visible, err := s.visible(ctx, who, d.Changes)
		if err != nil {
			return err
		}
		if len(visible) < len(d.Changes) {
			return core.PermissionDenied
		}
		for i := range d.Changes {
			if more, err := each(d.Changes[i].KV, d.Rev); err != nil || !more {
				return err
			}
		}
	}
}
