package etcdv3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/frontends/etcdv3/v3lockpb"
)

func (s *server) locks() v3lockpb.LockClient { return v3lockpb.NewLockClient(s.conn) }

// grantLease makes a lease that outlives the test.
func (s *server) grantLease(id int64) int64 {
	s.Helper()
	resp, err := s.lease.LeaseGrant(s.ctx(), &pb.LeaseGrantRequest{ID: id, TTL: 600})
	require.NoError(s, err)
	return resp.ID
}

// keys are the keys below a prefix, in the order of their creation.
func (s *server) keys(prefix string) []string {
	s.Helper()
	resp := s.rangeRequest(&pb.RangeRequest{
		Key: []byte(prefix), RangeEnd: []byte(prefix + "\xff"), SortTarget: pb.RangeRequest_CREATE, SortOrder: pb.RangeRequest_ASCEND,
	})
	names := []string{}
	for _, kv := range resp.Kvs {
		names = append(names, string(kv.Key))
	}
	return names
}

// requireQueue waits until the keys below a prefix are these.
func (s *server) requireQueue(prefix string, keys ...string) {
	s.Helper()
	require.Eventually(s, func() bool { return fmt.Sprint(s.keys(prefix)) == fmt.Sprint(keys) }, 10*time.Second, time.Millisecond,
		"%s: want %v", prefix, keys)
}

// locked is what came of a call of Lock.
type locked struct {
	resp *v3lockpb.LockResponse
	err  error
}

// lockLater calls Lock and returns when its key is in the queue.
func (s *server) lockLater(ctx context.Context, name string, lease int64) chan locked {
	s.Helper()
	done := make(chan locked, 1)
	before := len(s.keys(name + "/"))
	go func() {
		resp, err := s.locks().Lock(ctx, &v3lockpb.LockRequest{Name: []byte(name), Lease: lease})
		done <- locked{resp, err}
	}()
	require.Eventually(s, func() bool { return len(s.keys(name+"/")) > before }, 10*time.Second, time.Millisecond)
	return done
}

func TestLockTurns(t *testing.T) {
	s := startServer(t)
	for lease := int64(1); lease <= 3; lease++ {
		s.grantLease(lease)
	}
	first, err := s.locks().Lock(s.ctx(), &v3lockpb.LockRequest{Name: []byte("n"), Lease: 1})
	require.NoError(t, err)
	requireEqual(t, &v3lockpb.LockResponse{Header: s.header(2), Key: []byte("n/1")}, first)
	again, err := s.locks().Lock(s.ctx(), &v3lockpb.LockRequest{Name: []byte("n"), Lease: 1})
	require.NoError(t, err)
	requireEqual(t, first, again)

	second := s.lockLater(s.ctx(), "n", 2)
	third := s.lockLater(s.ctx(), "n", 3)
	require.Equal(t, []string{"n/1", "n/2", "n/3"}, s.keys("n/"))
	s.put("n0", "not of the queue")
	_, err = s.locks().Unlock(s.ctx(), &v3lockpb.UnlockRequest{Key: []byte("n/1")})
	require.NoError(t, err)
	got := <-second
	require.NoError(t, got.err)
	requireEqual(t, &v3lockpb.LockResponse{Header: s.header(6), Key: []byte("n/2")}, got.resp)
	_, err = s.lease.LeaseRevoke(s.ctx(), &pb.LeaseRevokeRequest{ID: 2})
	require.NoError(t, err)
	got = <-third
	require.NoError(t, got.err)
	require.Equal(t, "n/3", string(got.resp.Key))
}

func TestLockGrantsALease(t *testing.T) {
	s := startServer(t)
	got, err := s.locks().Lock(s.ctx(), &v3lockpb.LockRequest{Name: []byte("n")})
	require.NoError(t, err)
	leases, err := s.lease.LeaseLeases(s.ctx(), &pb.LeaseLeasesRequest{})
	require.NoError(t, err)
	require.Len(t, leases.Leases, 1)
	id := leases.Leases[0].ID
	require.Equal(t, fmt.Sprintf("n/%x", id), string(got.Key))
	ttl, err := s.lease.LeaseTimeToLive(s.ctx(), &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
	require.NoError(t, err)
	require.EqualValues(t, 60, ttl.GrantedTTL)
	require.Equal(t, [][]byte{got.Key}, ttl.Keys)
}

func TestLockErrors(t *testing.T) {
	s := startServer(t)
	_, err := s.locks().Lock(s.ctx(), &v3lockpb.LockRequest{Name: []byte("n"), Lease: 1})
	requireStatus(t, codes.Unknown, "etcdserver: requested lease not found", err)
	_, err = s.locks().Unlock(s.ctx(), &v3lockpb.UnlockRequest{})
	requireStatus(t, codes.Unknown, "etcdserver: key is not provided", err)
	resp, err := s.locks().Unlock(s.ctx(), &v3lockpb.UnlockRequest{Key: []byte("nobody's")})
	require.NoError(t, err)
	requireEqual(t, &v3lockpb.UnlockResponse{Header: s.header(1)}, resp)
}

// A negative lease is in the key as clients print it.
func TestLockOfANegativeLease(t *testing.T) {
	s := startServer(t)
	s.grantLease(-255)
	got, err := s.locks().Lock(s.ctx(), &v3lockpb.LockRequest{Lease: -255})
	require.NoError(t, err)
	require.Equal(t, "/-ff", string(got.Key))
}

func TestLockCanceled(t *testing.T) {
	s := startServer(t)
	s.grantLease(1)
	s.grantLease(2)
	_, err := s.locks().Lock(s.ctx(), &v3lockpb.LockRequest{Name: []byte("n"), Lease: 1})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(s.ctx())
	waiting := s.lockLater(ctx, "n", 2)
	cancel()
	requireStatus(t, codes.Canceled, "context canceled", (<-waiting).err)
	s.requireQueue("n/", "n/1")
}

// Who waits with a lease that ends need not wait for the others.
func TestLockOfALostPlace(t *testing.T) {
	s := startServer(t)
	s.grantLease(1)
	s.grantLease(2)
	_, err := s.locks().Lock(s.ctx(), &v3lockpb.LockRequest{Name: []byte("n"), Lease: 1})
	require.NoError(t, err)
	waiting := s.lockLater(s.ctx(), "n", 2)
	_, err = s.lease.LeaseRevoke(s.ctx(), &pb.LeaseRevokeRequest{ID: 2})
	require.NoError(t, err)
	requireStatus(t, codes.Unknown, "mutex: session is expired", (<-waiting).err)
	s.requireQueue("n/", "n/1")
}

// A compaction takes nothing from who waits.
func TestLockOverCompaction(t *testing.T) {
	s := startServer(t)
	s.grantLease(1)
	s.grantLease(2)
	_, err := s.locks().Lock(s.ctx(), &v3lockpb.LockRequest{Name: []byte("n"), Lease: 1})
	require.NoError(t, err)
	waiting := s.lockLater(s.ctx(), "n", 2)
	s.put("a", "1")
	_, err = s.kv.Compact(s.ctx(), &pb.CompactionRequest{Revision: s.put("a", "2").Header.Revision})
	require.NoError(t, err)
	_, err = s.locks().Unlock(s.ctx(), &v3lockpb.UnlockRequest{Key: []byte("n/1")})
	require.NoError(t, err)
	require.NoError(t, (<-waiting).err)
}

func TestLockOfAStoppingServer(t *testing.T) {
	s := startServer(t)
	s.grantLease(1)
	s.grantLease(2)
	_, err := s.locks().Lock(s.ctx(), &v3lockpb.LockRequest{Name: []byte("n"), Lease: 1})
	require.NoError(t, err)
	waiting := s.lockLater(s.ctx(), "n", 2)
	s.stopNode()
	requireStatus(t, codes.Unknown, "etcdserver: server stopped", (<-waiting).err)
}

// TestLockExcludes has callers lose patience at random: never do two have the lock.
func TestLockExcludes(t *testing.T) {
	s := startServer(t)
	const workers, rounds = 6, 16
	var holders, held atomic.Int32
	// Each try has a lease of its own, and takes what it may have left with it: one who
	// lost patience may have the lock and not know.
	try := func(patience time.Duration) error {
		lease, err := s.lease.LeaseGrant(s.ctx(), &pb.LeaseGrantRequest{TTL: 600})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(s.ctx(), patience)
		defer cancel()
		_, err = s.locks().Lock(ctx, &v3lockpb.LockRequest{Name: []byte("n"), Lease: lease.ID})
		switch status.Code(err) {
		case codes.OK:
			held.Add(1)
			if holders.Add(1) != 1 {
				return errors.New("two have the lock")
			}
			holders.Add(-1)
		case codes.DeadlineExceeded:
		default:
			return err
		}
		_, err = s.lease.LeaseRevoke(s.ctx(), &pb.LeaseRevokeRequest{ID: lease.ID})
		return err
	}
	failed := make(chan error, workers)
	for range workers {
		go func() {
			for round := range rounds {
				patience := time.Minute
				if round%2 == 0 {
					patience = rand.N(3 * time.Millisecond)
				}
				if err := try(patience); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range workers {
		require.NoError(t, <-failed)
	}
	require.GreaterOrEqual(t, int(held.Load()), workers*rounds/2)
	s.requireQueue("n/")
}
