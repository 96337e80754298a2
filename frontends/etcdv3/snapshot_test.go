package etcdv3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/node"
)

// TestSnapshotStream: section 2.10 of the reference.
func TestSnapshotStream(t *testing.T) {
	s := startServer(t)
	for range 3 {
		s.put("key", string(bytes.Repeat([]byte("v"), 30_000)))
	}
	stream, err := s.maintenance.Snapshot(s.ctx(), &pb.SnapshotRequest{})
	require.NoError(t, err)
	var file []byte
	var sizes []int
	left := uint64(0)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.Equal(t, "3.7.0", m.Version)
		require.Nil(t, m.Header)
		if len(sizes) > 0 && len(m.Blob) != sha256.Size {
			require.Equal(t, left-uint64(len(m.Blob)), m.RemainingBytes)
		}
		left = m.RemainingBytes
		sizes = append(sizes, len(m.Blob))
		file = append(file, m.Blob...)
	}
	require.Greater(t, len(sizes), 3)
	for _, n := range sizes[:len(sizes)-2] {
		require.Equal(t, 32<<10, n)
	}
	require.Zero(t, left)
	require.Equal(t, sha256.Size, len(file)%512)
	sum := sha256.Sum256(file[:len(file)-sha256.Size])
	require.Equal(t, sum[:], file[len(file)-sha256.Size:])
}

// brokenBackups is a maintenance whose snapshots end too early.
type brokenBackups struct {
	core.Maintenance
	closed bool
}

func (b *brokenBackups) Snapshot(context.Context, core.Principal) (core.Snapshot, error) {
	return core.Snapshot{Size: 1024, Body: b}, nil
}

func (b *brokenBackups) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (b *brokenBackups) Close() error {
	b.closed = true
	return nil
}

// sent is a stream that keeps what it is given.
type sent struct {
	grpc.ServerStream
	messages []*pb.SnapshotResponse
}

func (s *sent) Send(m *pb.SnapshotResponse) error {
	s.messages = append(s.messages, m)
	return nil
}

func (s *sent) Recv() (*pb.SnapshotRequest, error) { return &pb.SnapshotRequest{}, nil }

// TestBrokenSnapshot: a client must not take half of one for a whole.
func TestBrokenSnapshot(t *testing.T) {
	s := startServer(t)
	s.put("a", "1")
	broken := &brokenBackups{}
	f := &face{Config: Config{Store: s.node, Cluster: s.node, Maintenance: broken, Auth: s.node.Auth()}.withDefaults()}
	conn := &sent{}
	err := maintenanceServer{f}.snapshot(s.ctx(), conn)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Empty(t, conn.messages)
	require.True(t, broken.closed)
}

// TestHashes: etcd T-92.
func TestHashes(t *testing.T) {
	s := startServer(t, func(n *node.Config, _ *Config) { n.Cluster.Mount = "/zk" })
	s.put("a", "1")
	s.put("a", "2")
	at2, err := s.maintenance.HashKV(s.ctx(), &pb.HashKVRequest{Revision: 2})
	require.NoError(t, err)
	requireEqual(t, &pb.HashKVResponse{Header: s.header(3), Hash: at2.Hash, CompactRevision: -1, HashRevision: 2}, at2)
	now, err := s.maintenance.HashKV(s.ctx(), &pb.HashKVRequest{})
	require.NoError(t, err)
	requireEqual(t, &pb.HashKVResponse{Header: s.header(3), Hash: now.Hash, CompactRevision: -1, HashRevision: 3}, now)
	require.NotEqual(t, at2.Hash, now.Hash)

	_, err = s.kv.Compact(s.ctx(), &pb.CompactionRequest{Revision: 3, Physical: true})
	require.NoError(t, err)
	again, err := s.maintenance.HashKV(s.ctx(), &pb.HashKVRequest{Revision: 3})
	require.NoError(t, err)
	requireEqual(t, &pb.HashKVResponse{Header: s.header(3), Hash: now.Hash, CompactRevision: 3, HashRevision: 3}, again)
	_, err = s.maintenance.HashKV(s.ctx(), &pb.HashKVRequest{Revision: 2})
	requireStatus(t, codes.OutOfRange, rpctypes.ErrorDesc(rpctypes.ErrGRPCCompacted), err)
	_, err = s.maintenance.HashKV(s.ctx(), &pb.HashKVRequest{Revision: 4})
	requireStatus(t, codes.OutOfRange, rpctypes.ErrorDesc(rpctypes.ErrGRPCFutureRev), err)

	all, err := s.maintenance.Hash(s.ctx(), &pb.HashRequest{})
	require.NoError(t, err)
	requireEqual(t, &pb.HashResponse{Header: s.header(3), Hash: all.Hash}, all)
	defragmented, err := s.maintenance.Defragment(s.ctx(), &pb.DefragmentRequest{})
	require.NoError(t, err)
	requireEqual(t, &pb.DefragmentResponse{}, defragmented)
}
