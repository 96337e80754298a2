// Package etcdv3 is the etcd face: etcd's v3 gRPC API on the core contract.
//
// It translates and nothing else. It owns the wire: the shape of requests and
// replies, the checks that need no state, etcd's error codes and texts, watch
// ids and fragments, and the gRPC server's tuning. It owns no state beyond that
// of an open stream, and never evaluates a rule of the store: those come back
// from the core as error kinds, which errors.go turns into etcd's errors in one
// table.
//
// Each service is one file. Its handlers take a decoded request and a
// core.Principal and return a response or an error of the core; streams use the
// small stream interface. service.go turns them into a grpc.ServiceDesc, which
// any grpc.ServiceRegistrar can serve: grpc-go's server today, a loop of our
// own later.
package etcdv3
