package etcdv3

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/triglot/triglot/core"
)

// budgetServer serves the member of s once more, with a budget of so many bytes.
func budgetServer(s *server, bytes int64) (*rangeBudget, pb.KVClient, *grpc.ClientConn) {
	f := &face{Config: Config{Store: s.node, Cluster: s.node, Auth: s.node.Auth()}.withDefaults(), ranges: newRangeBudget(bytes)}
	g := grpc.NewServer(ServerOptions(ServerConfig{Metrics: f.Metrics})...)
	desc := f.kv().describe()
	g.RegisterService(&desc, nil)
	listener := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///budget", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)),
		// Windows that do not grow: of an answer that nobody reads, all but this stays.
		grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(1<<20),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(s, err)
	s.Cleanup(func() {
		require.NoError(s, conn.Close())
		g.Stop()
		require.NoError(s, <-served)
	})
	return f.ranges, pb.NewKVClient(conn), conn
}

func (b *rangeBudget) left() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.free
}

// requireBack waits until all of the budget has been given back.
func requireBack(t testing.TB, b *rangeBudget) {
	t.Helper()
	require.Eventually(t, func() bool {
		runtime.GC() // for what nobody frees
		return b.left() == b.total
	}, 20*time.Second, time.Millisecond)
}

// An answer of more than the budget is refused while it is read; one that fits has its
// part of it until the client has it all, or has gone.
func TestLargeRangesAreBounded(t *testing.T) {
	s := startServer(t)
	value := string(bytes.Repeat([]byte{'v'}, 60<<10))
	for i := range 100 { // 6 MB
		s.put(fmt.Sprintf("large/%03d", i), value)
	}
	for i := range 20 {
		s.put(fmt.Sprintf("small/%03d", i), "v")
	}
	all := &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}
	readTxn := &pb.TxnRequest{Success: ops(opRange(all))}

	t.Run("too large", func(t *testing.T) {
		budget, kv, _ := budgetServer(s, 3<<20)
		for _, r := range []*pb.RangeRequest{all, {Key: all.Key, RangeEnd: all.RangeEnd, SortOrder: pb.RangeRequest_DESCEND, Limit: 1}} {
			_, err := kv.Range(s.ctx(), r)
			requireStatus(t, codes.ResourceExhausted, "triglot: the answer takes more memory than a range may: "+
				"use a limit and read on from the last key, or RangeStream", err)
		}
		_, err := kv.Txn(s.ctx(), readTxn)
		require.Equal(t, codes.ResourceExhausted, status.Code(err))
		require.Equal(t, budget.total, budget.left())

		got, err := kv.Range(s.ctx(), &pb.RangeRequest{Key: all.Key, RangeEnd: all.RangeEnd, Limit: 40})
		require.NoError(t, err)
		require.Len(t, got.Kvs, 40)
		got, err = kv.Range(s.ctx(), &pb.RangeRequest{Key: all.Key, RangeEnd: all.RangeEnd, CountOnly: true})
		require.NoError(t, err)
		require.EqualValues(t, 120, got.Count)
		got, err = kv.Range(s.ctx(), &pb.RangeRequest{Key: all.Key, RangeEnd: all.RangeEnd, KeysOnly: true})
		require.NoError(t, err)
		require.Len(t, got.Kvs, 120)
		requireBack(t, budget)
	})
	t.Run("it fits", func(t *testing.T) {
		budget, kv, _ := budgetServer(s, 100<<20)
		got, err := kv.Range(s.ctx(), all)
		require.NoError(t, err)
		require.Len(t, got.Kvs, 120)
		requireEqual(t, s.get("large/077").Kvs[0], got.Kvs[77])
		txn, err := kv.Txn(s.ctx(), readTxn)
		require.NoError(t, err)
		require.Len(t, txn.Responses[0].GetResponseRange().Kvs, 120)
		requireBack(t, budget)
	})
	t.Run("a client that does not read", func(t *testing.T) {
		budget, kv, conn := budgetServer(s, 8<<20)
		// The transport takes no more than its window of an answer that nobody reads: the
		// rest stays with the server.
		ctx, cancel := context.WithCancel(s.ctx())
		stuck, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, pb.KV_Range_FullMethodName)
		require.NoError(t, err)
		require.NoError(t, stuck.SendMsg(all))
		require.NoError(t, stuck.CloseSend())
		// An answer begins when all of it is read: until then it would compete for the room.
		_, err = stuck.Header()
		require.NoError(t, err)
		short, stop := context.WithTimeout(s.ctx(), 50*time.Millisecond)
		defer stop()
		_, err = kv.Range(short, all)
		require.Equal(t, codes.DeadlineExceeded, status.Code(err), "it waits for room")
		cancel()
		requireBack(t, budget)
		_, err = kv.Range(s.ctx(), all)
		require.NoError(t, err)
	})
}

// Who finds no room waits, for a while. Of those who have something already only one
// does, so that no two wait for each other.
func TestRangeBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRangeBudget(10 << 20)
		first, second := b.hold(t.Context()), b.hold(t.Context())
		require.NoError(t, first.grow(freeRangeBytes))
		require.False(t, first.large())
		require.NoError(t, first.grow(6<<20))
		require.True(t, first.large())
		require.NoError(t, second.grow(freeRangeBytes))
		began := time.Now()
		require.Equal(t, core.TooManyRequests, second.grow(6<<20))
		require.Equal(t, rangePatience, time.Since(began))
		require.Equal(t, core.TooManyRequests, second.refuse(core.TooManyRequests))

		third := b.hold(t.Context())
		time.AfterFunc(time.Second, first.share.release)
		began = time.Now()
		require.NoError(t, third.grow(6<<20))
		require.Equal(t, time.Second, time.Since(began))
		fourth := b.hold(t.Context())
		require.NoError(t, fourth.grow(3<<20))
		waited := make(chan error)
		go func() { waited <- third.grow(2 << 20) }()
		synctest.Wait()
		began = time.Now()
		require.Equal(t, core.TooManyRequests, fourth.grow(3<<20))
		require.Zero(t, time.Since(began), "it does not wait: another does, for what it has")
		fourth.share.release()
		require.NoError(t, <-waited)
		fourth = b.hold(t.Context())
		require.Equal(t, errRangeTooLarge, third.grow(5<<20))
		require.Equal(t, errRangeTooLarge, third.refuse(core.Errorf(core.Internal, "read: refused")))
		require.NoError(t, fourth.grow(3<<20))

		ctx, cancel := context.WithCancel(t.Context())
		fifth := b.hold(ctx)
		time.AfterFunc(time.Second, cancel)
		err := fifth.refuse(fifth.grow(9 << 20))
		require.ErrorIs(t, err, core.Canceled)
		fourth.share.release()
		fourth.share.release()
		require.Equal(t, b.total, b.left())
	})
}
