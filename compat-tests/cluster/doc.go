// Package cluster loads three real members with clients of both protocols on the same
// keys while members are killed, paused and cut off, and judges the history.
//
// Porcupine says whether gets, puts, deletes and transactions of etcd's clients and
// creates, sets, deletes and synced gets of ZooKeeper's are one linearizable history of
// each key. Every acknowledged write must be in the stream of changes exactly once, and
// the stream the same on every member and to every watcher. Ephemerals of live clients
// stay, those of dead ones go in time. What a ZooKeeper connection has sent one after the
// other is there without a gap.
//
// The seed shuffles decks of all faults, and prints them; the same seed repeats their order
// and all their choices. One in four has mutual TLS between the members. From ten minutes
// on members are paused for 30 s, too.
//
//	go test ./cluster -parallel 6                                # a minute of histories, and the rest beside it
//	go test ./cluster -run Histories -args -duration 4h -seed 42 -size 5 -peer-tls
//	go test ./cluster -run 'Histories$' -args -lasting           # a member, and the leader, paused for 30 s
//	TARGET=etcd go test ./cluster        # a real etcd, and etcd's clients alone
//	TARGET=zookeeper go test ./cluster   # a real ZooKeeper, and ZooKeeper's clients alone
//
// The checker is tested by servers that are right and by doctored histories. What failed
// keeps its directory: the logs of all members and history.json.
//
// The package owns the clusters it starts and nothing else.
package cluster
