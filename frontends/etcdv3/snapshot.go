package etcdv3

import (
	"context"
	"crypto/sha256"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/triglot/triglot/core"
)

// snapshotBlob is what a message of a snapshot carries (etcd 2.10 of the reference).
const snapshotBlob = 32 << 10

// snapshot streams a backup of the store: the file in blobs, each with the number of
// bytes that remain, and its SHA-256 behind it, by which `etcdutl snapshot restore`
// knows that it has all.
func (s maintenanceServer) snapshot(ctx context.Context, conn stream[pb.SnapshotRequest, pb.SnapshotResponse]) error {
	if _, err := conn.Recv(); err != nil {
		return err
	}
	who, err := s.principal(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	snap, err := s.Maintenance.Snapshot(ctx, who)
	if err != nil {
		return err
	}
	defer snap.Body.Close() //nolint:errcheck // it was only read
	s.Logger.Info("sending database snapshot to client", "total-bytes", snap.Size, "storage-version", snap.Version)

	hash := sha256.New()
	blob := make([]byte, snapshotBlob)
	for left := snap.Size; left > 0; {
		blob = blob[:min(left, snapshotBlob)]
		if _, err := io.ReadFull(snap.Body, blob); err != nil {
			return core.Errorf(core.Internal, "read the snapshot: %w", err)
		}
		left -= int64(len(blob))
		hash.Write(blob)
		if err := conn.Send(&pb.SnapshotResponse{RemainingBytes: uint64(left), Blob: blob, Version: snap.Version}); err != nil {
			return err
		}
	}
	if err := conn.Send(&pb.SnapshotResponse{Blob: hash.Sum(nil), Version: snap.Version}); err != nil {
		return err
	}
	s.Logger.Info("sent database snapshot", "total-bytes", snap.Size, "took", time.Since(begin))
	return nil
}

// hash sums up all of the state (etcd T-92).
func (s maintenanceServer) hash(ctx context.Context, who core.Principal, _ *pb.HashRequest) (*pb.HashResponse, error) {
	sum, rev, err := s.Maintenance.Hash(ctx, who)
	if err != nil {
		return nil, err
	}
	return &pb.HashResponse{Header: s.header(rev), Hash: sum}, nil
}

// hashKV sums up the keys as of a revision (etcd T-92).
func (s maintenanceServer) hashKV(ctx context.Context, who core.Principal, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	h, err := s.Maintenance.HashKV(ctx, who, core.Rev(r.Revision))
	if err != nil {
		return nil, err
	}
	return &pb.HashKVResponse{
		Header:          s.header(h.Current),
		Hash:            h.Hash,
		CompactRevision: int64(h.CompactRev),
		HashRevision:    int64(h.Rev),
	}, nil
}

// defragment has nothing to do. Its reply has no header (etcd T-90).
func (s maintenanceServer) defragment(ctx context.Context, who core.Principal, _ *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
	return &pb.DefragmentResponse{}, s.Maintenance.Defragment(ctx, who)
}
