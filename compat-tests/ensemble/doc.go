// Package ensemble runs whole clusters for tests: three or more members of stock etcd,
// of ZooKeeper 3.9 or of Triglot, each a process of its own on free loopback ports, with
// a byte-level TCP proxy in front of every peer port.
//
// The proxies know nothing of any protocol. They tell who dials whom by the process that
// owns the dialling socket, as /proc tells it (Linux only), and hold back the bytes of
// one direction between two members, or of all, until they are let go: as a network does
// that loses packets, and whose TCP sends them again.
//
// It owns every process it starts. A process is ended by its own id only, and the kernel
// ends it too if this process dies first.
package ensemble
