package etcdv3

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"

	"github.com/triglot/triglot/core"
	epb "github.com/triglot/triglot/frontends/etcdv3/v3electionpb"
)

// X11 on the wire: a znode that is its owner's cannot be read, listed, watched, changed
// or found by anybody else, while it is there and afterwards.
func TestProtectedZnodes(t *testing.T) {
	s := startServer(t)
	owner := core.Principal{IDs: core.Identities("").With("digest", "owner")}
	do := func(cmd core.Command) core.Rev {
		t.Helper()
		res, err := s.node.Do(s.ctx(), owner, cmd)
		require.NoError(t, err)
		return res.Rev
	}
	zk := func(ops ...core.ZnodeOp) core.Rev {
		t.Helper()
		for i := range ops {
			ops[i].Version = core.AnyVersion
			if ops[i].ACL == "" {
				ops[i].OpenACL = true
			}
		}
		return do(&core.ZnodeWrite{Session: core.SessionRef{ID: 7, Epoch: 1}, Ops: ops})
	}
	private := core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "owner"})
	do(&core.SessionOpen{ID: 7, Timeout: time.Hour})
	first := zk(
		core.ZnodeOp{Type: core.ZnodeCreate, Path: "/open", Data: []byte("1")},
		core.ZnodeOp{Type: core.ZnodeCreate, Path: "/secret", Data: []byte("2"), ACL: private},
		core.ZnodeOp{Type: core.ZnodeCreate, Path: "/secret/lock", Data: []byte("3"), ACL: private, Kind: core.ZnodeEphemeral},
	)
	key, end := []byte("/zk/secret"), []byte("/zk/secret0")
	denied := func(_ any, err error) {
		t.Helper()
		requireStatus(t, codes.PermissionDenied, "etcdserver: permission denied", err)
	}
	touch := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("elsewhere")}}}
	refuse := func() {
		t.Helper()
		for _, r := range []*pb.RangeRequest{
			{Key: key},
			{Key: key, Serializable: true},
			{Key: key, CountOnly: true},
			{Key: []byte("/zk/"), RangeEnd: []byte("/zk0"), Limit: 1},
			{Key: []byte{0}, RangeEnd: []byte{0}, KeysOnly: true},
			{Key: []byte("/zk/secret/"), RangeEnd: end},
			{Key: []byte("/zk/secret//no/path")},
			{Key: key, Revision: int64(first)},
		} {
			denied(s.kv.Range(s.ctx(), r))
			stream, err := s.kv.RangeStream(s.ctx(), r)
			require.NoError(t, err)
			denied(stream.Recv())
		}
		denied(s.kv.Put(s.ctx(), &pb.PutRequest{Key: key}))
		denied(s.kv.Put(s.ctx(), &pb.PutRequest{Key: []byte("/zk/secret/new")}))
		denied(s.kv.DeleteRange(s.ctx(), &pb.DeleteRangeRequest{Key: key, RangeEnd: end}))
		denied(s.kv.DeleteRange(s.ctx(), &pb.DeleteRangeRequest{Key: key, PrevKv: true}))
		denied(s.kv.Txn(s.ctx(), &pb.TxnRequest{Compare: []*pb.Compare{{Key: key}}, Success: []*pb.RequestOp{touch}, Failure: []*pb.RequestOp{touch}}))
		denied(s.lease.LeaseTimeToLive(s.ctx(), &pb.LeaseTimeToLiveRequest{ID: 7, Keys: true}))
		denied(s.lease.LeaseRevoke(s.ctx(), &pb.LeaseRevokeRequest{ID: 7}))
	}
	refuseWhole := func() {
		t.Helper()
		denied(s.maintenance.Hash(s.ctx(), &pb.HashRequest{}))
		denied(s.maintenance.HashKV(s.ctx(), &pb.HashKVRequest{}))
		stream, err := s.maintenance.Snapshot(s.ctx(), &pb.SnapshotRequest{})
		require.NoError(t, err)
		denied(stream.Recv())
	}
	refuse()
	refuseWhole()
	_, err := s.lease.LeaseTimeToLive(s.ctx(), &pb.LeaseTimeToLiveRequest{ID: 7})
	require.NoError(t, err)
	leases, err := s.lease.LeaseLeases(s.ctx(), &pb.LeaseLeasesRequest{})
	require.NoError(t, err)
	require.Len(t, leases.Leases, 1)
	require.EqualValues(t, 1, s.get("/zk/open").Count)
	require.Zero(t, s.get("elsewhere").Count)

	// Events of what was, and of what is.
	zk(core.ZnodeOp{Type: core.ZnodeSetData, Path: "/secret", Data: []byte("4")})
	zk(core.ZnodeOp{Type: core.ZnodeDelete, Path: "/secret/lock"}, core.ZnodeOp{Type: core.ZnodeDelete, Path: "/secret"})
	zk(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/secret", Data: []byte("all may see")})
	last := zk(core.ZnodeOp{Type: core.ZnodeSetData, Path: "/secret", Data: []byte("5")})
	stream, err := s.watch.Watch(s.ctx())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte("/zk/"), RangeEnd: []byte("/zk0"), StartRevision: int64(first), PrevKv: true,
	}}}))
	var told []string
	for len(told) == 0 || told[len(told)-1] != "5" {
		resp, err := stream.Recv()
		require.NoError(t, err)
		for _, e := range resp.Events {
			told = append(told, string(e.Kv.Value))
			require.NotContains(t, []string{"2", "4"}, string(e.GetPrevKv().GetValue()))
		}
	}
	require.Equal(t, []string{"1", "all may see", "5"}, told)
	require.EqualValues(t, 1, s.get("/zk/secret").Count)
	denied(s.kv.Range(s.ctx(), &pb.RangeRequest{Key: []byte("/zk/"), RangeEnd: []byte("/zk0"), Revision: int64(first)}))
	refuseWhole()

	// Once the history is gone in which anything was forbidden, nothing is.
	_, err = s.kv.Compact(s.ctx(), &pb.CompactionRequest{Revision: int64(last)})
	require.NoError(t, err)
	_, err = s.maintenance.HashKV(s.ctx(), &pb.HashKVRequest{})
	require.NoError(t, err)
}

// Who observes an election is not told of a leader that he may not read: as etcd has it,
// the stream ends.
func TestObserveProtectedLeader(t *testing.T) {
	s := startServer(t)
	owner := core.Principal{IDs: core.Identities("").With("digest", "owner")}
	do := func(cmd core.Command) {
		t.Helper()
		_, err := s.node.Do(s.ctx(), owner, cmd)
		require.NoError(t, err)
	}
	create := func(path string, acl core.ACL) {
		do(&core.ZnodeWrite{Session: core.SessionRef{ID: 7, Epoch: 1}, Ops: []core.ZnodeOp{
			{Type: core.ZnodeCreate, Path: path, Data: []byte("leader"), ACL: acl, OpenACL: acl == ""},
		}})
	}
	do(&core.SessionOpen{ID: 7, Timeout: time.Hour})
	create("/el", "")
	stream, err := epb.NewElectionClient(s.conn).Observe(s.ctx(), &epb.LeaderRequest{Name: []byte("/zk/el")})
	require.NoError(t, err)
	create("/el/open", "")
	resp, err := stream.Recv()
	require.NoError(t, err)
	require.Equal(t, "leader", string(resp.Kv.Value))
	do(&core.DeleteRange{Interval: core.Interval{Key: []byte("/zk/el/open")}})
	create("/el/private", core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "owner"}))
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF)
}
