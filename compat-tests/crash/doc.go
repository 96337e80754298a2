// Package crash kills a server under load with SIGKILL, starts it again on the
// same data directory and ports, and checks what it promised.
//
// There are three tests. TestKillUnderLoad keeps a ledger of every write and
// compares it, after each restart, with the store's state and with its history as
// a watch from the beginning tells it: no acknowledged write is lost, no revision
// is used twice or taken back, no transaction is torn, leases live on. The ledger
// knows who wrote which key, so its verdict is exact. TestHistories has the
// clients compete for keys and lets porcupine decide whether what they saw was
// linearizable. TestKillZooKeeper has sessions write trees of their own through
// ZooKeeper's protocol, multis, sequential and ephemeral znodes among it: no
// acknowledged write is lost, no multi is torn, no version or counter goes back,
// and a session ends, with all its ephemerals, only if its client does not return.
//
//	go test ./crash                             # four kills and more in each test
//	go test ./crash -rounds 50 -timeout 20m     # fifty
//	TARGET=etcd go test ./crash -seed 42        # a real etcd; choices repeated
//
// TARGET=etcd runs both against a real etcd: the checkers are tested by servers
// that are right, and by broken ledgers and histories of our own making.
//
// What this cannot show is the fsync: the kernel keeps the pages of a killed
// process. That is proved on a crash-cloned file system, in the root module.
//
// The package owns the server processes it starts and nothing else.
package crash
