package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/triglot/triglot/compat-tests/server"
)

// etcdClient is a client of raw gRPC stubs, which costs little.
type etcdClient struct {
	conns []*grpc.ClientConn
	kv    []etcdserverpb.KVClient
}

const (
	etcdConns = 10
	// batchPuts is how many operations a transaction may have: etcd's --max-txn-ops.
	batchPuts   = 128
	fillWorkers = 32
)

func dialEtcd(_ context.Context, p *server.Process) (client, error) {
	c := &etcdClient{}
	for range etcdConns {
		const window = 1 << 20
		conn, err := grpc.NewClient("passthrough:///"+p.Endpoint(),
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
			grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(16*window))
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.conns = append(c.conns, conn)
		c.kv = append(c.kv, etcdserverpb.NewKVClient(conn))
	}
	return c, nil
}

func (c *etcdClient) close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

func etcdKey(i int) []byte { return fmt.Appendf(nil, "heavy/%010d", i) }

func (c *etcdClient) put(ctx context.Context, key int, value []byte) error {
	_, err := c.kv[key%len(c.kv)].Put(ctx, &etcdserverpb.PutRequest{Key: etcdKey(key), Value: value})
	return err
}

func (c *etcdClient) fill(ctx context.Context, keys int) error {
	all := make([]*noise, fillWorkers)
	for i := range all {
		all[i] = newNoise(i)
	}
	return inBatches(ctx, fillWorkers, keys, batchPuts, func(worker, from, to int) error {
		txn := &etcdserverpb.TxnRequest{}
		for i := from; i < to; i++ {
			put := &etcdserverpb.PutRequest{Key: etcdKey(scattered(i, keys)), Value: all[worker].value(make([]byte, valueBytes))}
			txn.Success = append(txn.Success, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: put}})
		}
		_, err := c.kv[worker%len(c.kv)].Txn(ctx, txn)
		return err
	})
}

// revision is the server's now.
func (c *etcdClient) revision(ctx context.Context) (int64, error) {
	answer, err := c.kv[0].Range(ctx, &etcdserverpb.RangeRequest{Key: etcdKey(0)})
	return answer.GetHeader().GetRevision(), err
}

// compact gives up the history before a revision and waits until it is gone.
func (c *etcdClient) compact(ctx context.Context, revision int64) error {
	_, err := c.kv[0].Compact(ctx, &etcdserverpb.CompactionRequest{Revision: revision, Physical: true})
	return err
}

// download takes a snapshot, on a connection of its own, and returns its size.
func (c *etcdClient) download(ctx context.Context) (bytes int64, err error) {
	conn, err := grpc.NewClient(c.conns[0].Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stream, err := etcdserverpb.NewMaintenanceClient(conn).Snapshot(ctx, &etcdserverpb.SnapshotRequest{})
	if err != nil {
		return 0, err
	}
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return bytes, nil
		}
		if err != nil {
			return bytes, err
		}
		bytes += int64(len(part.GetBlob()))
	}
}
