// Package zk is the ZooKeeper face: it speaks ZooKeeper 3.9's client protocol
// on the store.
//
// It owns the connections, the watches, which live and die with a connection, and
// which connection a session is attached to here. It keeps no znode and no rule
// about znodes: a request becomes a command or a read of a view, and what comes
// back becomes bytes. What it does decide is order: what a connection is sent
// before what (package documentation of docs/adr on the order of a connection).
//
// The codec is in the sub-packages jute and wire.
package zk
