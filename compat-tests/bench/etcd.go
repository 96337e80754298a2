package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	opPut operation = "put"
	// opGet is a linearizable get of one key that exists; of a ZooKeeper, a getData.
	opGet operation = "get"
	// opSerializable is a serializable get of one key that exists.
	opSerializable operation = "sget"
)

// dial opens a connection that costs the client little: static windows (no
// bandwidth probes), no retries, no name resolution, no service config.
func dial(endpoint string) (*grpc.ClientConn, error) {
	const window = 1 << 20
	return grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithStaticStreamWindowSize(window),
		grpc.WithStaticConnWindowSize(16*window),
		grpc.WithReadBufferSize(64<<10),
		grpc.WithWriteBufferSize(64<<10),
	)
}

// etcdClient is a client of raw gRPC stubs.
type etcdClient struct {
	data   *data
	conns  []*grpc.ClientConn
	filled atomic.Int64
}

func newEtcdClient(_ context.Context, endpoint string, conns int, d *data) (client, error) {
	c := &etcdClient{data: d}
	for range conns {
		conn, err := dial(endpoint)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.conns = append(c.conns, conn)
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

func (c *etcdClient) caller(op operation, i int, random *rand.Rand) (caller, error) {
	kv := etcdserverpb.NewKVClient(c.conns[i%len(c.conns)])
	switch op {
	case opFill:
		return c.filler(kv), nil
	case opPut:
		return c.putter(kv, random), nil
	case opGet, opSerializable:
		return c.getter(kv, random, op == opSerializable), nil
	default:
		return nil, fmt.Errorf("etcd has no operation %q", op)
	}
}

func (c *etcdClient) filler(kv etcdserverpb.KVClient) caller {
	req := &etcdserverpb.PutRequest{Value: c.data.values[0]}
	return func(ctx context.Context) error {
		req.Key = c.data.keys[int(c.filled.Add(1)-1)%len(c.data.keys)]
		_, err := kv.Put(ctx, req)
		return err
	}
}

func (c *etcdClient) putter(kv etcdserverpb.KVClient, random *rand.Rand) caller {
	req := &etcdserverpb.PutRequest{}
	return func(ctx context.Context) error {
		req.Key = c.data.keys[random.IntN(len(c.data.keys))]
		req.Value = c.data.values[random.IntN(len(c.data.values))]
		_, err := kv.Put(ctx, req)
		return err
	}
}

func (c *etcdClient) getter(kv etcdserverpb.KVClient, random *rand.Rand, serializable bool) caller {
	req := &etcdserverpb.RangeRequest{Serializable: serializable}
	return func(ctx context.Context) error {
		req.Key = c.data.keys[random.IntN(len(c.data.keys))]
		resp, err := kv.Range(ctx, req)
		if err == nil && len(resp.Kvs) != 1 {
			err = fmt.Errorf("got %d rows for %s", len(resp.Kvs), req.Key)
		}
		return err
	}
}
