// Package backup proves that a store goes into Triglot and out of it through etcd's
// snapshot files, with everything that can be read of it. The judges are a real etcd,
// etcdctl and etcdutl.
package backup
