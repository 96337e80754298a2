package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

// nullServer answers Put and Range of one key from a map: the least that a
// server on grpc-go can do. What a real server costs above it is what the store
// costs, "below the transport". It keeps nothing on disk.
type nullServer struct {
	etcdserverpb.UnimplementedKVServer
	rev atomic.Int64

	mu   sync.RWMutex // guards rows
	rows map[string]*mvccpb.KeyValue
}

// nullOptions are the null servers by name, with the options of their
// grpc.Server. The name is also the argument that makes this program be one.
var nullOptions = map[string][]grpc.ServerOption{
	// nullName is grpc-go as it comes.
	nullName: {},
	// The other has what frontends/etcdv3 sets for speed, so that a server on it
	// can be compared with its own transport.
	nullTuned: {
		grpc.StaticStreamWindowSize(nullStreamWindow),
		grpc.StaticConnWindowSize(nullConnWindow),
		grpc.NumStreamWorkers(nullWorkers),
		grpc.ReadBufferSize(nullBuffer),
		grpc.WriteBufferSize(nullBuffer),
	},
}

// What Triglot sets for speed. They are copies, as a front end is for cmd alone to import, and a
// test ties them to frontends/etcdv3/options.go and cmd/triglot/resources.go.
const (
	nullStreamWindow = 1 << 20
	nullConnWindow   = 4 << 20
	nullWorkers      = 1024
	nullBuffer       = 64 << 10
	nullGCPercent    = 200
)

// nullBallast is memory that nobody uses, which costs none, as it is never written. Without it the
// map of a null server is so small that garbage is collected all the time, which no server does.
// With it there are as many collections as in a Triglot whose caches are not full yet: 64 MiB live,
// of about 125 MiB resident under gets (docs/benchmarks.md).
const nullBallast = 64 << 20

const (
	nullName  = "null"
	nullTuned = "null-tuned"
	// zkNullName is the argument for the null server of ZooKeeper's face.
	zkNullName = "null-zk"
)

// isNull says whether a server of this name is a null server.
func isNull(name string) bool { return name == zkNullName || nullOptions[name] != nil }

// serveNull serves on a free port, whose address it prints, until its standard
// input ends.
func serveNull(name string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, listener.Addr()); err != nil {
		return err
	}
	debug.SetGCPercent(nullGCPercent)
	ballast := make([]byte, nullBallast)
	defer runtime.KeepAlive(ballast)
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if name == zkNullName {
		return serveNullZK(listener)
	}
	server := grpc.NewServer(nullOptions[name]...)
	etcdserverpb.RegisterKVServer(server, &nullServer{rows: map[string]*mvccpb.KeyValue{}})
	return server.Serve(listener)
}

func (s *nullServer) header(rev int64) *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{ClusterId: 1, MemberId: 1, RaftTerm: 2, Revision: rev}
}

func (s *nullServer) Put(_ context.Context, r *etcdserverpb.PutRequest) (*etcdserverpb.PutResponse, error) {
	rev := s.rev.Add(1)
	row := &mvccpb.KeyValue{Key: r.Key, Value: r.Value, CreateRevision: rev, ModRevision: rev, Version: 1}
	s.mu.Lock()
	s.rows[string(r.Key)] = row
	s.mu.Unlock()
	return &etcdserverpb.PutResponse{Header: s.header(rev)}, nil
}

func (s *nullServer) Range(_ context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	s.mu.RLock()
	row := s.rows[string(r.Key)]
	s.mu.RUnlock()
	resp := &etcdserverpb.RangeResponse{Header: s.header(s.rev.Load())}
	if row != nil {
		resp.Count, resp.Kvs = 1, []*mvccpb.KeyValue{row}
	}
	return resp, nil
}
