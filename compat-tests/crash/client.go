package crash

import (
	"context"
	"errors"
	"fmt"
	"math"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// dial opens a connection of raw stubs: nothing is retried and nothing waits for
// a connection, so an error ends the call and leaves its outcome unknown once.
func dial(endpoint string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	)
}

// rowsOf reads all keys with the prefix, linearizably, at a revision or, if that
// is 0, at the current one. current is the store's revision.
func rowsOf(ctx context.Context, conn *grpc.ClientConn, rev int64) (rows map[string]Row, current int64, err error) {
	resp, err := etcdserverpb.NewKVClient(conn).Range(ctx, &etcdserverpb.RangeRequest{
		Key: []byte(prefix), RangeEnd: endOf(prefix), Revision: rev,
	})
	if err != nil {
		return nil, 0, err
	}
	rows = make(map[string]Row, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		rows[string(kv.Key)] = Row{Value: digest(kv.Value), ModRev: kv.ModRevision}
	}
	return rows, resp.Header.Revision, nil
}

// endOf is the end of the range of all keys with a prefix that ends in "/".
func endOf(prefix string) []byte {
	end := []byte(prefix)
	end[len(end)-1]++
	return end
}

// follow watches the prefix from a revision on and hands over one whole revision
// after the other until each returns false, which is no error. started, if not
// nil, is called once the watch has been created.
func follow(ctx context.Context, conn *grpc.ClientConn, from int64, started func(), each func(Revision) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := etcdserverpb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{Key: []byte(prefix), RangeEnd: endOf(prefix), StartRevision: from},
	}}); err != nil {
		return err
	}
	last := from - 1
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		if resp.Canceled {
			return fmt.Errorf("watch from %d was cancelled: compact revision %d, %q", from, resp.CompactRevision, resp.CancelReason)
		}
		if resp.Created && started != nil {
			started()
		}
		for _, revision := range revisionsOf(resp.Events) {
			if revision.Rev <= last {
				return fmt.Errorf("a watch delivers revision %d after %d", revision.Rev, last)
			}
			last = revision.Rev
			if !each(revision) {
				return nil
			}
		}
	}
}

// revisionsOf cuts the events of one response into revisions, in the order in
// which they came.
func revisionsOf(events []*mvccpb.Event) []Revision {
	var revisions []Revision
	for _, e := range events {
		if n := len(revisions); n == 0 || revisions[n-1].Rev != e.Kv.ModRevision {
			revisions = append(revisions, Revision{Rev: e.Kv.ModRevision})
		}
		effect := Effect{Key: string(e.Kv.Key), Value: digest(e.Kv.Value), Deleted: e.Type == mvccpb.Event_DELETE}
		last := &revisions[len(revisions)-1]
		last.Effects = append(last.Effects, effect)
	}
	return revisions
}

// historyOf reads every revision of the prefix from one revision to another. If
// ctx ends before the last one has come, what came is returned with the error.
func historyOf(ctx context.Context, conn *grpc.ClientConn, from, to int64) ([]Revision, error) {
	if to < from {
		return nil, nil
	}
	var history []Revision
	err := follow(ctx, conn, from, nil, func(r Revision) bool {
		history = append(history, r)
		return r.Rev < to
	})
	return history, err
}

// closeAll closes connections.
func closeAll(conns []*grpc.ClientConn) error {
	var errs []error
	for _, conn := range conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}
