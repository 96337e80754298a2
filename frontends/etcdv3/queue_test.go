package etcdv3

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/triglot/triglot/core"
	epb "github.com/triglot/triglot/frontends/etcdv3/v3electionpb"
	"github.com/triglot/triglot/frontends/etcdv3/v3lockpb"
)

// forgetfulStore has each feed begin with the news that what it is to tell has been
// compacted, until so many have.
type forgetfulStore struct {
	core.Store
	left atomic.Int32
}

func (s *forgetfulStore) Watch(ctx context.Context) (core.Feed, error) {
	feed, err := s.Store.Watch(ctx)
	if err != nil || s.left.Add(-1) < 0 {
		return feed, err
	}
	return forgetfulFeed{feed}, nil
}

type forgetfulFeed struct{ core.Feed }

func (forgetfulFeed) Next(context.Context) (core.Delivery, error) {
	return core.Delivery{Kind: core.DeliverCompacted, Watch: 1}, nil
}

// Who waits looks again when he has missed something.
func TestWaitingOverCompaction(t *testing.T) {
	s := startServer(t)
	store := &forgetfulStore{Store: s.node}
	f := &face{Config: Config{Store: store, Auth: s.node.Auth(), Leases: s.node.Leases(), Cluster: s.node}.withDefaults()}
	s.grantLease(1)
	s.grantLease(2)
	_, _, err := f.enter(s.ctx(), []byte("n"), 1, nil)
	require.NoError(t, err)
	second, found, err := f.enter(s.ctx(), []byte("n"), 2, nil)
	require.NoError(t, err)
	require.False(t, found.first)
	store.left.Store(3)
	waited := make(chan error, 1)
	go func() {
		_, err := second.wait(s.ctx())
		waited <- err
	}()
	require.Eventually(t, func() bool { return store.left.Load() < 0 }, 10*time.Second, time.Millisecond)
	s.del("n/1", "")
	require.NoError(t, <-waited)

	store.left.Store(3)
	observed := make(observeSink, 10)
	ctx, cancel := context.WithCancel(s.ctx())
	defer cancel()
	go func() { waited <- (electionServer{f}).observe(ctx, observed) }()
	for range 4 { // the same again, each time that something may be missing
		require.Equal(t, "n/2", string((<-observed).Kv.Key))
	}
	cancel()
	require.ErrorIs(t, <-waited, context.Canceled)
}

// observeSink is a client that observes the election "n".
type observeSink chan *epb.LeaderResponse

func (c observeSink) Recv() (*epb.LeaderRequest, error) {
	return &epb.LeaderRequest{Name: []byte("n")}, nil
}

func (c observeSink) Send(r *epb.LeaderResponse) error {
	c <- r
	return nil
}

func (c observeSink) SendMsg(m any) error { return c.Send(m.(*epb.LeaderResponse)) }

// TestWire holds the services' schemas against etcd's.
func TestWire(t *testing.T) {
	require.Equal(t, strings.TrimSpace(`
service v3lockpb.Lock: Lock(LockRequest) LockResponse; Unlock(UnlockRequest) UnlockResponse
LockRequest: name=1 bytes, lease=2 int64
LockResponse: header=1 etcdserverpb.ResponseHeader, key=2 bytes
UnlockRequest: key=1 bytes
UnlockResponse: header=1 etcdserverpb.ResponseHeader
service v3electionpb.Election: Campaign(CampaignRequest) CampaignResponse; Proclaim(ProclaimRequest) ProclaimResponse; `+
		`Leader(LeaderRequest) LeaderResponse; Observe(LeaderRequest) stream LeaderResponse; Resign(ResignRequest) ResignResponse
CampaignRequest: name=1 bytes, lease=2 int64, value=3 bytes
CampaignResponse: header=1 etcdserverpb.ResponseHeader, leader=2 v3electionpb.LeaderKey
LeaderKey: name=1 bytes, key=2 bytes, rev=3 int64, lease=4 int64
LeaderRequest: name=1 bytes
LeaderResponse: header=1 etcdserverpb.ResponseHeader, kv=2 mvccpb.KeyValue
ProclaimRequest: leader=1 v3electionpb.LeaderKey, value=2 bytes
ProclaimResponse: header=1 etcdserverpb.ResponseHeader
ResignRequest: leader=1 v3electionpb.LeaderKey
ResignResponse: header=1 etcdserverpb.ResponseHeader
`), strings.TrimSpace(schemaOf(v3lockpb.File_v3lockpb_v3lock_proto)+schemaOf(epb.File_v3electionpb_v3election_proto)))
}

// schemaOf lists the services and messages of a file.
func schemaOf(file protoreflect.FileDescriptor) string {
	var out strings.Builder
	for i := range file.Services().Len() {
		svc := file.Services().Get(i)
		var methods []string
		for j := range svc.Methods().Len() {
			m := svc.Methods().Get(j)
			stream := ""
			if m.IsStreamingServer() {
				stream = "stream "
			}
			methods = append(methods, fmt.Sprintf("%s(%s) %s%s", m.Name(), m.Input().Name(), stream, m.Output().Name()))
		}
		fmt.Fprintf(&out, "service %s: %s\n", svc.FullName(), strings.Join(methods, "; "))
	}
	var messages []string
	for i := range file.Messages().Len() {
		m := file.Messages().Get(i)
		var fields []string
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			kind := f.Kind().String()
			if f.Message() != nil {
				kind = string(f.Message().FullName())
			}
			fields = append(fields, fmt.Sprintf("%s=%d %s", f.Name(), f.Number(), kind))
		}
		messages = append(messages, fmt.Sprintf("%s: %s\n", m.Name(), strings.Join(fields, ", ")))
	}
	slices.Sort(messages)
	out.WriteString(strings.Join(messages, ""))
	return out.String()
}
