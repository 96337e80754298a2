// Package clients runs etcd's own clients, unmodified, against a server of their
// own: clientv3 with its concurrency, namespace and kubernetes packages, and stock
// etcdctl, whose output is compared with what it prints for stock etcd.
//
// TARGET=etcd runs the same tests against stock etcd. The package owns the
// servers that it starts.
package clients
