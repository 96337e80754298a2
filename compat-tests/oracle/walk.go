package oracle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/compat-tests/server"
)

// walk is one random run on a fresh pair. Step n is drawn from the seed, n and
// what the walk knows at that point, so that any subset of the steps is a run
// too: that is what makes a failing run smaller.
type walk struct {
	pair           *pair
	seed           uint64
	rev, compacted int64
	// live holds, by stream, the watches that are neither refused nor canceled,
	// with the revision from which each one sees events. An entry without watches
	// is an open stream.
	live map[string]map[int64]int64
	// users says that authentication is part of the run.
	users bool
	// past is what has been sent lately, for the report of a mismatch.
	past []string
	// counts has how often each kind of request was answered, or refused, and how
	// many events were delivered.
	counts map[string]int
}

// The streams that hold several watches each. Watches that start in the future
// have a stream each: a stream tells no progress before all of its watches have
// started.
var sharedStreams = []string{"s1", "s2", "s3"}

const (
	maxFutureStreams = 2
	maxWatches       = 4 // of a shared stream
	contextSteps     = 8 // shown before a mismatch
)

// mismatch is a step to which the two sides answered differently.
type mismatch struct {
	seed    uint64
	step    int
	request string
	outcome outcome
	past    []string
}

func (m *mismatch) Error() string {
	return fmt.Sprintf("seed %d, step %d: etcd and ours differ.\nbefore:\n  %s\nrequest: %s\n(-etcd +ours)\n%s",
		m.seed, m.step, strings.Join(m.past, "\n  "), m.request, diff(m.outcome))
}

func newWalk(p *pair, seed uint64, counts map[string]int) *walk {
	return &walk{pair: p, seed: seed, rev: 1, live: make(map[string]map[int64]int64), counts: counts}
}

// step runs one step. A *mismatch says that the sides differ.
func (w *walk) step(n int) error {
	g := generator{Rand: rand.New(rand.NewPCG(w.seed, uint64(n))), rev: w.rev, compacted: w.compacted, sensible: w.users}
	var request string
	var o outcome
	if w.users && g.chance(25) {
		c := g.change()
		return w.callAs(n, g.changer(c.name), c)
	}
	if w.users {
		caller := g.caller()
		if w.pair.etcd.callers.tokens[caller] == "" && caller != stranger && caller != "" && g.chance(25) {
			if err := w.logIn(n, caller); err != nil {
				return err
			}
		}
		w.pair.etcd.callers.now, w.pair.ours.callers.now = caller, caller
		defer func() { w.pair.etcd.callers.now, w.pair.ours.callers.now = "", "" }()
	}
	switch k := g.IntN(100); {
	case k < 88:
		request, o = w.unary(g)
	case k < 93:
		request, o = w.createWatch(g)
	case k < 95:
		request, o = w.createFutureWatch(g, n)
	default:
		request, o = w.cancelWatch(g)
	}
	return w.finish(n, request, o)
}

// callAs makes a call on behalf of a user.
func (w *walk) callAs(n int, user string, c namedRequest) error {
	o := w.pair.as(user, func() outcome { return w.pair.call(c.name, c.request) })
	return w.finish(n, c.name+" "+w.pair.usual.message(c.request.ProtoReflect())+" as "+user, o)
}

// begin makes the users and roles of a run, and has each user log in.
func (w *walk) begin() error {
	for _, c := range prelude() {
		if err := w.callAs(-1, "", c); err != nil {
			return err
		}
	}
	return w.logIn(-1, users...)
}

// logIn has users log in, whatever their passwords are.
func (w *walk) logIn(n int, names ...string) error {
	for _, name := range names {
		for _, password := range passwords {
			c := namedRequest{"authenticate", &pb.AuthenticateRequest{Name: name, Password: password}}
			if err := w.callAs(n, "", c); err != nil {
				return err
			}
		}
	}
	return nil
}

// operator is who looks after the store.
func (w *walk) operator() string {
	if w.users {
		return "root"
	}
	return ""
}

// finish compares a step's replies, and all that it made due on the streams.
func (w *walk) finish(n int, request string, o outcome) error {
	if !o.same() {
		return &mismatch{w.seed, n, request, o, w.past}
	}
	w.count(request, o)
	if strings.Contains(o.etcd, invalidToken) {
		w.pair.forgetToken()
	}
	w.past = append(w.past, fmt.Sprintf("%d: %s -> %s", n, request, strings.ReplaceAll(strings.TrimSpace(o.etcd), "\n", "; ")))
	if len(w.past) > contextSteps {
		w.past = w.past[1:]
	}
	for _, name := range slices.Sorted(maps.Keys(w.live)) {
		if !w.fenceable(name) {
			continue
		}
		rev := w.rev
		o, _ := w.pair.stream(name, nil, func(st *stream) (d watched) {
			d.responses, d.progress, d.err = st.fence(rev)
			return d
		})
		if !o.same() || strings.Contains(o.etcd, "error:") {
			return &mismatch{w.seed, n, request + " (then on stream " + name + ")", o, w.past}
		}
		w.count("fence", o)
	}
	return nil
}

// count notes what kind of request had what kind of reply.
func (w *walk) count(request string, o outcome) {
	kind, _, _ := strings.Cut(request, " ")
	if strings.HasPrefix(o.etcd, "error:") {
		kind += ": " + strings.TrimSpace(strings.TrimPrefix(o.etcd, "error: "))
	}
	w.counts[kind]++
	w.counts["events"] += strings.Count(o.etcd, "events:")
}

// fenceable reports whether the stream answers a progress request now.
func (w *walk) fenceable(name string) bool {
	watches := w.live[name]
	for _, start := range watches {
		if start > w.rev {
			return false
		}
	}
	return len(watches) > 0
}

func (w *walk) unary(g generator) (string, outcome) {
	name, request := g.unary()
	o := w.pair.call(name, request)
	if m, ok := o.message.(interface{ GetHeader() *pb.ResponseHeader }); ok {
		w.rev = max(w.rev, m.GetHeader().GetRevision())
		if c, ok := request.(*pb.CompactionRequest); ok {
			w.compacted = max(w.compacted, c.Revision)
		}
	}
	return name + " " + w.pair.usual.message(request.ProtoReflect()), o
}

func (w *walk) createWatch(g generator) (string, outcome) {
	stream := pick(g, sharedStreams)
	if len(w.live[stream]) >= maxWatches {
		return w.cancelOn(g, stream)
	}
	return w.create(stream, g.watchCreate())
}

// createFutureWatch opens a stream for a watch that starts a few revisions
// ahead.
func (w *walk) createFutureWatch(g generator, n int) (string, outcome) {
	var future []string
	for name := range w.live {
		if !slices.Contains(sharedStreams, name) {
			future = append(future, name)
		}
	}
	if len(future) >= maxFutureStreams {
		return w.cancelOn(g, slices.Min(future))
	}
	request := g.watchCreate()
	request.WatchId, request.StartRevision = 0, w.rev+1+g.Int64N(6)
	return w.create(fmt.Sprintf("future%d", n), request)
}

// create creates a watch. One that starts before the compacted revision is
// canceled by the server; the walk then cancels it too, which frees its id.
func (w *walk) create(name string, create *pb.WatchCreateRequest) (string, outcome) {
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
	compacted := create.StartRevision > 0 && create.StartRevision < w.compacted
	o, responses := w.pair.stream(name, nil, func(st *stream) (d watched) {
		d.responses, d.err = st.exchange(request, func(r *pb.WatchResponse) bool { return r.Created })
		if d.err != nil || !compacted || d.responses[len(d.responses)-1].Canceled {
			return d
		}
		canceled := func(r *pb.WatchResponse) bool { return r.Canceled }
		for _, next := range []func() ([]*pb.WatchResponse, error){
			func() ([]*pb.WatchResponse, error) { return st.until(canceled) },
			func() ([]*pb.WatchResponse, error) {
				return st.exchange(cancelRequest(d.responses[0].WatchId), canceled)
			},
		} {
			var more []*pb.WatchResponse
			if more, d.err = next(); d.err != nil {
				return d
			}
			d.responses = append(d.responses, slices.DeleteFunc(more, isProgress)...)
		}
		return d
	})
	if w.live[name] == nil {
		w.live[name] = make(map[int64]int64)
	}
	for _, r := range responses {
		if r.Created && !r.Canceled && !compacted {
			w.live[name][r.WatchId] = create.StartRevision
		}
	}
	return fmt.Sprintf("watch %s %s", name, w.pair.usual.message(request.ProtoReflect())), o
}

func (w *walk) cancelWatch(g generator) (string, outcome) {
	open := slices.Sorted(maps.Keys(w.live))
	if len(open) == 0 {
		return w.createWatch(g)
	}
	return w.cancelOn(g, pick(g, open))
}

// cancelOn cancels a watch of the stream, or one that does not exist.
func (w *walk) cancelOn(g generator, name string) (string, outcome) {
	ids := slices.Sorted(maps.Keys(w.live[name]))
	id := 100 + g.Int64N(3)
	if len(ids) > 0 && g.chance(90) {
		id = pick(g, ids)
	}
	_, known := w.live[name][id]
	o, _ := w.pair.stream(name, nil, func(st *stream) (d watched) {
		if !known {
			return watched{err: st.send(cancelRequest(id))}
		}
		d.responses, d.err = st.exchange(cancelRequest(id), func(r *pb.WatchResponse) bool { return r.Canceled })
		return d
	})
	delete(w.live[name], id)
	if len(w.live[name]) == 0 && !slices.Contains(sharedStreams, name) {
		delete(w.live, name)
	}
	return fmt.Sprintf("cancel %s %d", name, id), o
}

func cancelRequest(id int64) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}}
}

// exchange sends a request and returns the responses up to the first one that is
// last. What a fence may have left behind, progress that was asked for once too
// often, is dropped.
func (st *stream) exchange(request *pb.WatchRequest, last func(*pb.WatchResponse) bool) ([]*pb.WatchResponse, error) {
	if err := st.send(proto.Clone(request).(*pb.WatchRequest)); err != nil {
		return nil, err
	}
	got, err := st.until(last)
	return slices.DeleteFunc(got, isProgress), err
}

// restart ends both servers, with SIGKILL or in order, and starts them again on
// their data. All streams are gone then; leases have their full time again, and
// are renewed once, so that their order by expiry is defined.
func (w *walk) restart(ctx context.Context, n int) error {
	kill := n%2 == 0
	errEtcd, errOurs := on(w.pair, func(s *side) error { return s.restart(ctx, kill) })
	if err := errors.Join(errEtcd, errOurs); err != nil {
		return err
	}
	if err := w.pair.identify(); err != nil {
		return err
	}
	clear(w.live)
	if w.users {
		if err := w.logIn(n, users...); err != nil {
			return err
		}
	}
	for _, call := range []struct {
		name    string
		request proto.Message
	}{
		{"status", &pb.StatusRequest{}},
		{"members", &pb.MemberListRequest{}},
		{"range", &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}},
		{"range", &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: w.compacted}},
	} {
		o := w.pair.as(w.operator(), func() outcome { return w.pair.call(call.name, call.request) })
		if err := w.finish(n, "restart,"+call.name, o); err != nil {
			return err
		}
	}
	ids := slices.Clone(leaseIDs)
	for i := range w.pair.etcd.aliases {
		ids = append(ids, w.pair.etcd.aliases[i])
	}
	slices.Sort(ids)
	for _, id := range ids {
		o := w.pair.as(w.operator(), func() outcome { return w.pair.call("keepalive", &pb.LeaseKeepAliveRequest{ID: id}) })
		if err := w.finish(n, "restart,keepalive", o); err != nil {
			return err
		}
	}
	o := w.pair.as(w.operator(), func() outcome { return w.pair.call("leases", &pb.LeaseLeasesRequest{}) })
	return w.finish(n, "restart,leases", o)
}

// restart runs the side's server anew.
func (s *side) restart(ctx context.Context, kill bool) error {
	s.cancel()
	s.wg.Wait()
	end := s.host.Terminate
	if kill {
		end = s.host.Kill
	}
	if err := end(); err != nil {
		return err
	}
	if err := s.host.Restart(ctx); err != nil {
		return err
	}
	s.conn.ResetConnectBackoff()
	clear(s.streams)
	clear(s.keepAlives)
	clear(s.callers.tokens) // etcd replays some, depending on where its last snapshot was
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s.restarted(ctx)
}

// plan is which steps a run makes.
type plan struct {
	seed     uint64
	steps    []int
	restarts int // spread evenly over the steps
	members  int // of each side; zero is one
}

// run makes the steps of a plan on a fresh pair, until one of them shows a
// mismatch. What was sent is added to counts.
func (pl plan) run(ctx context.Context, target server.Target, counts map[string]int) (found *mismatch, err error) {
	var args []string
	if pl.seed%2 == 1 {
		args = []string{"--snapshot-count", "50"} // bring state to disk, and cut logs, often
	}
	p, err := startSized(ctx, target, pl.members, args...)
	if err != nil {
		return nil, err
	}
	if pl.members > 1 && pl.seed%2 == 0 { // whose streams and tokens would lag: seeds with users are not spread
		p.etcd.names.spread, p.ours.names.spread = pl.seed%3 != 0, pl.seed%3 != 0
	}
	defer func() {
		if e := p.close(); e != nil {
			err = errors.Join(err, fmt.Errorf("seed %d: %w", pl.seed, e))
		}
	}()
	w := newWalk(p, pl.seed, counts)
	if w.users = pl.seed%3 == 0; w.users {
		if err := w.begin(); err != nil {
			return found, fmt.Errorf("seed %d: %w", pl.seed, err)
		}
	}
	every := len(pl.steps)/(pl.restarts+1) + 1
	for i, n := range pl.steps {
		err := w.step(n)
		if err == nil && i%every == every-1 {
			err = w.restart(ctx, n)
		}
		if errors.As(err, &found) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("seed %d, step %d: %w", pl.seed, n, err)
		}
	}
	return nil, nil
}

// shrink looks for a plan of fewer steps that still shows a mismatch: it leaves
// out ever smaller parts, and runs what is left. It gives up after so many
// attempts.
func (pl plan) shrink(m *mismatch, attempts int, run func(plan) (*mismatch, error)) (plan, *mismatch, error) {
	pl.steps = pl.steps[:slices.Index(pl.steps, m.step)+1]
	for size := len(pl.steps) / 2; size > 0; size /= 2 {
		for from := 0; from+size < len(pl.steps); { // never the last step
			if attempts--; attempts < 0 {
				return pl, m, nil
			}
			smaller := pl
			smaller.steps = slices.Delete(slices.Clone(pl.steps), from, from+size)
			found, err := run(smaller)
			if err != nil {
				return pl, m, err
			}
			if found == nil {
				from += size
				continue
			}
			smaller.steps = smaller.steps[:slices.Index(smaller.steps, found.step)+1]
			pl, m = smaller, found
		}
	}
	return pl, m, nil
}
