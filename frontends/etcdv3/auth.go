package etcdv3

import pb "go.etcd.io/etcd/api/v3/etcdserverpb"

// auth is etcd's Auth service, of which nothing is implemented yet.
func (f *face) auth() service { return service{desc: pb.Auth_ServiceDesc} }
