// Package jute reads and writes ZooKeeper's encoding: integers in network byte
// order, and a count of four bytes before strings, buffers and vectors, of which
// −1 says that there is none.
//
// It owns the bytes of single values. Which values make a message is in package
// wire. It never allocates for a count that the input merely claims: what is
// allocated is bounded by the bytes that are there.
package jute
