// Package server runs real servers for tests: stock etcd 3.7.3 or Triglot, each
// as a process of its own on free ports of the loopback interface, with its data
// and its log in a directory of its own.
//
// It owns every process it starts. A process is ended by its own id only, and
// the kernel ends it too if the test binary dies first, so that nothing is left
// behind. It never looks inside a server: what it knows comes from /health and
// from the server's log.
//
// Binaries are built on first use into the repository's .build/compat directory: etcd,
// etcdctl and etcdutl from their Go modules (tools/go.mod pins the versions),
// triglot from the root module. TRIGLOT_BIN and ETCD_BIN name a ready binary
// instead.
package server
