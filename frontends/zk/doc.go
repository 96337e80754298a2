// Package zk is the ZooKeeper face: it speaks ZooKeeper 3.9's client protocol
// on the store.
//
// It owns the connections, the watches, which live and die with a connection, and
// which connection a session is attached to here. It keeps no znode and no rule
// about znodes: a request becomes a command or a read of a view, and what comes
// back becomes bytes. What it does decide is order: what a connection is sent
// before what (docs/adr/0009).
//
// A Server has a goroutine for each connection, its reader, and more while
// requests wait for their answer (conn). The requests of each opcode are in a file
// op_*.go, the table of them is operations.
//
// The codec is in the sub-packages jute and wire.
package zk
