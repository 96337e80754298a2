package oracle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
)

// What both sides' clusters are called. The members are 1, 2, 3 and those that are
// added later go on; 1 is the one that a side speaks to.
const (
	sharedCluster = 77
	sharedTerm    = 7
)

// cluster is a host of several members. at is the one that the side speaks to: it leads
// only while a member ends or begins.
type cluster struct {
	*ensemble.Cluster
	at    *ensemble.Member
	ended *ensemble.Member
}

// names are what the sides of several members call differently.
type names struct {
	cluster uint64
	members []uint64 // by what they are called, less one
	term    uint64   // the last one seen, which is called sharedTerm, as is any later one
	urls    []string // pairs: the real one, the shared one

	conns []*grpc.ClientConn // to the members, by what they are called, less one
	// spread has requests whose answer is the same on every member go to each in turn.
	spread bool
	turn   int
}

// startCluster starts a side of several members, and has it speak to a follower.
func startCluster(ctx context.Context, t server.Target, size int, args []string) (*side, error) {
	c, err := ensemble.Start(ctx, ensemble.Options{Kind: ensemble.Kind(t), Size: size, Args: args, EtcdMode: true})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	h := &cluster{Cluster: c, at: c.Members[0]}
	s, err := sideOf(ctx, h)
	if err != nil {
		return nil, err
	}
	s.names = new(names)
	for i, m := range c.Members {
		conn, err := dial(m.EtcdEndpoint())
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.names.conns = append(s.names.conns, conn)
		s.names.urls = append(s.names.urls, m.EtcdEndpoint(), fmt.Sprintf("CLIENT%d", i+1))
	}
	if err := errors.Join(s.awaitStorageVersion(ctx), s.learnMembers(ctx), h.follow(ctx, s)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// awaitStorageVersion returns when the members' status is complete: etcd writes the version
// of its schema some time after it serves.
func (s *side) awaitStorageVersion(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	for _, conn := range s.names.conns {
		for {
			status, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
			if err != nil {
				return err
			}
			if status.StorageVersion != "" {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return errors.New("the version of the storage is not known yet")
			}
		}
	}
	return nil
}

// learnMembers asks for the ids and the peers' URLs.
func (s *side) learnMembers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	list, err := pb.NewClusterClient(s.conn).MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
	if err != nil {
		return err
	}
	s.names.cluster = list.Header.ClusterId
	s.names.members = make([]uint64, len(list.Members))
	for _, m := range list.Members {
		var i int
		if _, err := fmt.Sscanf(m.Name, "m%d", &i); err != nil || i < 1 || i > len(list.Members) {
			return fmt.Errorf("a member of an unknown name: %v", m)
		}
		s.names.members[i-1] = m.ID
		s.names.urls = append(s.names.urls, m.PeerURLs[0], fmt.Sprintf("http://PEER%d", i))
	}
	return nil
}

// learnTerm asks for the term, which is any, and differs after every election.
func (s *side) learnTerm() error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	r, err := pb.NewAuthClient(s.conn).AuthStatus(ctx, &pb.AuthStatusRequest{}) // which anybody may ask for
	if err != nil {
		return err
	}
	s.names.term = r.Header.RaftTerm
	return nil
}

// follow hands the lead over if the member that the side speaks to has it.
func (c *cluster) follow(ctx context.Context, s *side) error {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	var last error
	for ; ctx.Err() == nil; time.Sleep(retryFence) {
		leader := c.leader(ctx)
		if leader != nil && leader != c.at {
			return nil
		}
		request := &pb.MoveLeaderRequest{TargetID: s.names.members[1]}
		_, last = pb.NewMaintenanceClient(s.conn).MoveLeader(s.asRoot(ctx), request) // the next round tells
	}
	return fmt.Errorf("the member that the side speaks to goes on leading: %w", last)
}

// asRoot shows a token of root's if there is such a user.
func (s *side) asRoot(ctx context.Context) context.Context {
	for _, password := range passwords {
		r, err := pb.NewAuthClient(s.conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: "root", Password: password})
		if err == nil {
			return metadata.AppendToOutgoingContext(ctx, "token", r.Token)
		}
	}
	return ctx
}

// leader is the member that says so in its metrics, which need no token; nil if none does.
func (c *cluster) leader(ctx context.Context) *ensemble.Member {
	for _, m := range c.Running() {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.EtcdEndpoint()+"/metrics", nil)
		if err != nil {
			return nil
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			continue
		}
		all, err := io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err == nil && strings.Contains(string(all), "\netcd_server_is_leader 1\n") {
			return m
		}
	}
	return nil
}

func (c *cluster) Endpoint() string { return c.at.EtcdEndpoint() }
func (c *cluster) URL() string      { return "http://" + c.Endpoint() }
func (c *cluster) Stop() error      { return c.Close() }

// Kill ends the leader.
func (c *cluster) Kill() error {
	if c.ended = c.leader(context.Background()); c.ended == nil {
		return errors.New("nobody leads")
	}
	return c.ended.Kill()
}

// Terminate ends the member that the side speaks to.
func (c *cluster) Terminate() error {
	c.ended = c.at
	return c.ended.Terminate()
}

// Restart has the others serve without the one that ended before that comes back.
func (c *cluster) Restart(ctx context.Context) error {
	if err := c.AwaitAll(ctx); err != nil {
		return err
	}
	if err := c.ended.Restart(ctx); err != nil {
		return err
	}
	return c.AwaitAll(ctx)
}

// restarted brings a side up to date with what its host has become.
func (s *side) restarted(ctx context.Context) error {
	c, several := s.host.(*cluster)
	if !several {
		return nil
	}
	for _, conn := range s.names.conns {
		conn.ResetConnectBackoff()
	}
	return c.follow(ctx, s)
}

func (n *names) close() error {
	if n == nil {
		return nil
	}
	var errs []error
	for _, conn := range n.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// connFor is where a request goes. What any member may answer, each is asked in turn; what
// is only known to be right on a member that is up to date goes to the side's own, once
// that is.
func (s *side) connFor(ctx context.Context, request proto.Message) (*grpc.ClientConn, error) {
	if s.names == nil || !s.names.spread {
		return s.conn, nil
	}
	if !linearizable(request) {
		return s.conn, s.catchUp(ctx)
	}
	s.names.turn++
	return s.names.conns[s.names.turn%len(s.names.conns)], nil
}

// catchUp returns once the member that the side speaks to has what any other has shown.
func (s *side) catchUp(ctx context.Context) error {
	if s.names == nil || !s.names.spread {
		return nil
	}
	_, err := pb.NewKVClient(s.conn).Range(ctx, &pb.RangeRequest{Key: []byte("x"), Limit: 1})
	return err
}

// linearizable says whether the answer to a request is the same on every member.
func linearizable(request proto.Message) bool {
	switch r := request.(type) {
	case *pb.RangeRequest:
		return !r.Serializable
	case *pb.TxnRequest:
		empty := len(r.Success)+len(r.Failure) == 0 // of which etcd reads what the member has
		return !empty && !anySerializable(r)
	case *pb.PutRequest, *pb.DeleteRangeRequest, *pb.CompactionRequest, *pb.LeaseGrantRequest, *pb.LeaseRevokeRequest:
		return true
	default:
		return false
	}
}

func anySerializable(txn *pb.TxnRequest) bool {
	return slices.ContainsFunc(slices.Concat(txn.Success, txn.Failure), func(op *pb.RequestOp) bool {
		if nested := op.GetRequestTxn(); nested != nil {
			return anySerializable(nested)
		}
		return op.GetRequestRange().GetSerializable()
	})
}

// share puts, in place, the shared names for the side's own.
func (n *names) share(m proto.Message) {
	if n == nil {
		return
	}
	rewrite(m.ProtoReflect(), func(f protoreflect.Name, id uint64) uint64 {
		switch {
		case f == "cluster_id" && id == n.cluster:
			return sharedCluster
		case (f == "raft_term" || f == "raftTerm") && id >= n.term:
			n.term = id
			return sharedTerm
		case !isMember(f) || id == 0:
			return id
		}
		i := slices.Index(n.members, id)
		if i < 0 && f == "ID" { // it was added
			n.members = append(n.members, id)
			i = len(n.members) - 1
		}
		if f == "member_id" && n.spread && i >= 0 && i == n.turn%len(n.conns) {
			i = 0 // the one that was asked
		}
		if f == "leader" && i > 0 && i < len(n.conns) {
			i = 1 // any other
		}
		return uint64(i + 1)
	}, n.hide)
	switch r := m.(type) {
	case *pb.LeaseLeasesResponse: // sorted by when they end, which only a leader knows
		slices.SortFunc(r.Leases, func(a, b *pb.LeaseStatus) int { return cmp.Compare(a.ID, b.ID) })
	case interface{ GetMembers() []*pb.Member }: // sorted by their own ids
		slices.SortFunc(r.GetMembers(), func(a, b *pb.Member) int { return cmp.Compare(a.ID, b.ID) })
	}
}

// hide puts the shared URLs for the side's own.
func (n *names) hide(text string) string {
	if n == nil {
		return text
	}
	text = strings.NewReplacer(n.urls...).Replace(text)
	for i, id := range n.members { // in texts of alarms
		text = strings.ReplaceAll(text, strconv.FormatUint(id, 10), fmt.Sprintf("MEMBER%d", i+1))
	}
	return text
}

// resolve returns the request with the side's own names for the shared ones.
func (n *names) resolve(request proto.Message) proto.Message {
	if n == nil {
		return request
	}
	request = proto.Clone(request)
	back := slices.Clone(n.urls)
	slices.Reverse(back)
	rewrite(request.ProtoReflect(), func(f protoreflect.Name, id uint64) uint64 {
		if isMember(f) && id > 0 && id <= uint64(len(n.members)) {
			return n.members[id-1]
		}
		return id
	}, strings.NewReplacer(back...).Replace)
	return request
}

// isMember says whether the field is a member's id.
func isMember(f protoreflect.Name) bool {
	return f == "ID" || f == "member_id" || f == "memberID" || f == "leader" || f == "targetID"
}

// rewrite changes every number that may be an id or a term, and every string.
func rewrite(m protoreflect.Message, number func(protoreflect.Name, uint64) uint64, text func(string) string) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			for i := range v.List().Len() {
				rewrite(v.List().Get(i).Message(), number, text)
			}
		case f.IsList() && f.Kind() == protoreflect.StringKind:
			for i := range v.List().Len() {
				v.List().Set(i, protoreflect.ValueOfString(text(v.List().Get(i).String())))
			}
		case f.IsList():
		case f.Kind() == protoreflect.MessageKind:
			rewrite(v.Message(), number, text)
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(text(v.String())))
		case f.Kind() == protoreflect.Uint64Kind:
			m.Set(f, protoreflect.ValueOfUint64(number(f.Name(), v.Uint())))
		}
		return true
	})
}

// insist makes the named call on both sides until neither answers with an error of that
// text: etcd refuses changes of members for its first seconds.
func (p *pair) insist(name string, request proto.Message, text string) outcome {
	etcd, ours := on(p, func(s *side) (r reply) {
		for deadline := time.Now().Add(3 * patience); time.Now().Before(deadline); time.Sleep(retryFence) {
			r = s.call(methods[name], s.resolve(request))
			if r.err == nil || !strings.Contains(r.err.Message(), text) {
				break
			}
		}
		return r
	})
	return p.compare(etcd, ours)
}
