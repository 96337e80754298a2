package oracle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/compat-tests/server"
)

// peerURL is what both members advertise, so that both derive the same cluster
// and member id from it (T-100).
const peerURL = "http://127.0.0.1:2380"

// pair is the two servers: etcd, and the one under test, called ours.
type pair struct {
	etcd, ours *side
	usual      usual
	closed     map[string]bool // the streams that take no more requests
}

// startPair starts both servers, each empty, with the given further flags. Passwords
// are hashed at the lowest cost that there is: scripts set many.
func startPair(ctx context.Context, target server.Target, args ...string) (*pair, error) {
	return startSized(ctx, target, 1, args...)
}

// startSized is startPair with so many members on each side; the sides speak to a
// follower if there are several.
func startSized(ctx context.Context, target server.Target, members int, args ...string) (*pair, error) {
	args = append(slices.Clone(args), "--bcrypt-cost", "4")
	start := func(t server.Target) (*side, error) {
		args := slices.Clone(args)
		if t == server.Etcd {
			// Enough if only the process dies, and faster.
			args = append(args, "--unsafe-no-fsync")
		}
		if members > 1 {
			return startCluster(ctx, t, members, args)
		}
		return newSide(ctx, server.Options{Target: t, AdvertisePeerURL: peerURL, EtcdMode: true, Args: args})
	}
	p := &pair{closed: make(map[string]bool)}
	var errEtcd, errOurs error
	var wg sync.WaitGroup
	wg.Go(func() { p.etcd, errEtcd = start(server.Etcd) })
	wg.Go(func() { p.ours, errOurs = start(target) })
	wg.Wait()
	if err := errors.Join(errEtcd, errOurs); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if err := p.identify(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// identify learns the identity that etcd's headers carry; it is the one that
// ours must carry.
func (p *pair) identify() error {
	if p.etcd.names != nil {
		p.usual = usual{cluster: sharedCluster, member: 1, term: sharedTerm}
		errEtcd, errOurs := on(p, (*side).learnTerm)
		return errors.Join(errEtcd, errOurs)
	}
	status := p.etcd.call(methods["auth-status"], &pb.AuthStatusRequest{}) // which anybody may ask for
	if status.err != nil {
		return status.err.Err()
	}
	h := status.message.(*pb.AuthStatusResponse).Header
	p.usual = usual{cluster: h.ClusterId, member: h.MemberId, term: h.RaftTerm}
	return nil
}

// diff shows the lines of the two replies that differ.
func diff(o outcome) string {
	return cmp.Diff(strings.Split(o.etcd, "\n"), strings.Split(o.ours, "\n"))
}

// close stops both servers.
func (p *pair) close() error {
	var errs []error
	for _, s := range []*side{p.etcd, p.ours} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// on runs f for both sides at once and returns their results.
func on[T any](p *pair, f func(*side) T) (etcd, ours T) {
	var wg sync.WaitGroup
	wg.Go(func() { etcd = f(p.etcd) })
	wg.Go(func() { ours = f(p.ours) })
	wg.Wait()
	return etcd, ours
}

// outcome is one step's two replies, as texts, and etcd's as a message.
type outcome struct {
	etcd, ours string
	message    proto.Message // etcd's reply; nil if it was an error
}

func (o outcome) same() bool { return o.etcd == o.ours }

// call makes the named call on both sides. Lease ids in the request may be
// aliases.
func (p *pair) call(name string, request proto.Message) outcome {
	etcd, ours := on(p, func(s *side) reply {
		request := s.resolve(request)
		if r, ok := request.(*pb.LeaseKeepAliveRequest); ok {
			return s.renew(r)
		}
		r := s.call(methods[name], request)
		if g, ok := r.message.(*pb.LeaseGrantResponse); ok && request.(*pb.LeaseGrantRequest).ID == 0 {
			s.aliases.learn(g.ID)
		}
		return r
	})
	return p.compare(etcd, ours)
}

// resolve returns the request with this side's ids for aliases.
func (s *side) resolve(request proto.Message) proto.Message {
	request = s.names.resolve(request)
	if len(s.aliases) == 0 {
		return request
	}
	back := make(aliases, len(s.aliases))
	for drawn, alias := range s.aliases {
		back[alias] = drawn
	}
	request = proto.Clone(request)
	back.replace(request.ProtoReflect())
	return request
}

// compare renders two replies after what may differ has been made equal.
func (p *pair) compare(etcd, ours reply) outcome {
	o := outcome{message: etcd.message}
	if etcd.err == nil && ours.err == nil {
		etcd.message, ours.message = proto.Clone(etcd.message), proto.Clone(ours.message)
		p.etcd.aliases.replace(etcd.message.ProtoReflect())
		p.ours.aliases.replace(ours.message.ProtoReflect())
		for _, a := range allowances {
			a.apply(etcd.message, ours.message)
		}
	}
	o.etcd, o.ours = p.text(p.etcd, etcd), p.text(p.ours, ours)
	return o
}

func (p *pair) text(s *side, r reply) string {
	if r.err != nil {
		return errorText(r.err)
	}
	if s.names != nil {
		r.message = proto.Clone(r.message)
		s.names.share(r.message)
	}
	return s.hideEndpoint(p.usual.render(r.message))
}

// watched is what one side's stream delivered.
type watched struct {
	responses []*pb.WatchResponse
	progress  int64 // revision of the fence; 0 if there was none
	err       error
}

// stream runs f on the named stream of both sides and compares what it returns,
// watch by watch. etcd's responses are returned too.
func (p *pair) stream(name string, md metadata.MD, f func(*stream) watched) (outcome, []*pb.WatchResponse) {
	etcd, ours := on(p, func(s *side) watched {
		if err := s.catchUp(s.ctx); err != nil {
			return watched{err: err}
		}
		st, err := s.open(name, md)
		if err != nil {
			return watched{err: err}
		}
		return f(st)
	})
	return outcome{etcd: p.watchText(p.etcd, etcd), ours: p.watchText(p.ours, ours)}, etcd.responses
}

func (p *pair) watchText(s *side, w watched) string {
	var b strings.Builder
	byWatch(w.responses)
	for _, r := range w.responses {
		r = proto.Clone(r).(*pb.WatchResponse)
		s.aliases.replace(r.ProtoReflect())
		s.names.share(r)
		lastStates(r)
		fmt.Fprintf(&b, "watch %d:\n", r.WatchId)
		r.WatchId = 0
		for line := range strings.Lines(p.usual.render(r)) {
			b.WriteString("  " + line)
		}
	}
	if w.progress != 0 {
		fmt.Fprintf(&b, "progress: revision %d\n", w.progress)
	}
	if w.err != nil {
		fmt.Fprintf(&b, "error: %v\n", w.err)
	}
	return b.String()
}
