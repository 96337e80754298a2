package etcdv3

import (
	"context"
	"errors"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/core"
)

// tooLong is more seconds than any lease may have, and yet a Duration.
const tooLong = int64(core.MaxLeaseTTL/time.Second) + 1

// leaseServer is etcd's Lease service.
type leaseServer struct{ *face }

func (f *face) lease() service {
	s := leaseServer{f}
	return service{
		desc: pb.Lease_ServiceDesc,
		unary: map[string]grpc.MethodHandler{
			"LeaseGrant":      unary(f, s.grant),
			"LeaseRevoke":     unary(f, s.revoke),
			"LeaseTimeToLive": unary(f, s.timeToLive),
			"LeaseLeases":     unary(f, s.list),
		},
		streams: map[string]grpc.StreamHandler{
			"LeaseKeepAlive": streaming(f, s.keepAlive),
		},
	}
}

func (s leaseServer) grant(
	ctx context.Context, who core.Principal, r *pb.LeaseGrantRequest,
) (*pb.LeaseGrantResponse, error) {
	ttl := max(time.Duration(min(max(r.TTL, 0), tooLong))*time.Second, s.Limits.MinLeaseTTL)
	res, err := s.Store.Do(ctx, who, &core.LeaseGrant{ID: core.LeaseID(r.ID), TTL: ttl})
	if err != nil {
		return nil, err
	}
	out, ok := res.Outcome.(core.LeaseOutcome)
	if !ok {
		panic("etcdv3: a lease grant has an outcome that is not a lease's")
	}
	resp := &pb.LeaseGrantResponse{Header: &pb.ResponseHeader{}, ID: int64(out.ID), TTL: seconds(out.TTL)}
	s.fill(resp.Header, res.Rev)
	return resp, nil
}

func (s leaseServer) revoke(
	ctx context.Context, who core.Principal, r *pb.LeaseRevokeRequest,
) (*pb.LeaseRevokeResponse, error) {
	res, err := s.Store.Do(ctx, who, &core.LeaseRevoke{ID: core.LeaseID(r.ID)})
	if err != nil {
		return nil, err
	}
	resp := &pb.LeaseRevokeResponse{Header: &pb.ResponseHeader{}}
	s.fill(resp.Header, res.Rev)
	return resp, nil
}

// timeToLive says of a lease that there is not that it has -1 seconds to live
// (etcd T-61).
func (s leaseServer) timeToLive(
	ctx context.Context, who core.Principal, r *pb.LeaseTimeToLiveRequest,
) (*pb.LeaseTimeToLiveResponse, error) {
	resp := &pb.LeaseTimeToLiveResponse{Header: &pb.ResponseHeader{}, ID: r.ID, TTL: -1}
	st, err := s.Leases.Status(ctx, who, core.LeaseID(r.ID), r.Keys)
	switch {
	case err == nil:
		if st.Session {
			st.Remaining, st.Granted = roundUp(st.Remaining), roundUp(st.Granted)
		}
		resp.TTL = seconds(st.Remaining)
		resp.GrantedTTL = seconds(st.Granted)
		resp.Keys = st.Keys
	case core.KindOf(err) != core.LeaseNotFound:
		return nil, err
	}
	s.fill(resp.Header, s.Cluster.Status().Rev)
	return resp, nil
}

func (s leaseServer) list(
	ctx context.Context, who core.Principal, _ *pb.LeaseLeasesRequest,
) (*pb.LeaseLeasesResponse, error) {
	ids, err := s.Leases.List(ctx, who)
	if err != nil {
		return nil, err
	}
	resp := &pb.LeaseLeasesResponse{Header: &pb.ResponseHeader{}, Leases: make([]*pb.LeaseStatus, len(ids))}
	for i, id := range ids {
		resp.Leases[i] = &pb.LeaseStatus{ID: int64(id)}
	}
	s.fill(resp.Header, s.Cluster.Status().Rev)
	return resp, nil
}

// keepAlive renews the leases that the client names, in order. It returns when
// ctx ends, though its goroutine may still wait for the client then: Recv ends
// as soon as the transport learns that the handler has returned.
func (s leaseServer) keepAlive(
	ctx context.Context, conn stream[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse],
) error {
	ended := make(chan error, 1)
	go func() { ended <- s.renewAll(ctx, conn) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s leaseServer) renewAll(
	ctx context.Context, conn stream[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse],
) error {
	for {
		req, err := conn.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// The header comes first, so that no client takes a renewal to be later
		// than a revision that was there when the lease was renewed.
		resp := &pb.LeaseKeepAliveResponse{Header: &pb.ResponseHeader{}, ID: req.ID}
		s.fill(resp.Header, s.Cluster.Status().Rev)
		who, err := s.principal(ctx)
		if err != nil {
			return err
		}
		ttl, err := s.Leases.KeepAlive(ctx, who, core.LeaseID(req.ID))
		switch {
		case err == nil:
			resp.TTL = seconds(ttl)
		case core.KindOf(err) != core.LeaseNotFound: // which is a TTL of zero; a session's lease, too, is not for an etcd client to renew
			return err
		}
		if err := conn.Send(resp); err != nil {
			return err
		}
	}
}

// seconds gives a time to live as etcd does, rounded towards zero.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// roundUp makes whole seconds of the milliseconds of a ZooKeeper session: rounded
// towards zero, one that lives for half a second would seem to have no time at all.
func roundUp(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }
