// Package bench is triglot bench: it loads any server that speaks one of the protocols,
// Triglot, etcd or ZooKeeper, with one and the same cheap client, and says what that cost
// the client and the server.
//
//	keyspace   what keys and values there are
//	drive      when calls are made: closed loop and open loop
//	etcdload   the loads of each protocol
//	zkload
//	httpload
//	measure    latencies, and what processes use
//	report     JSON, a table, a page with charts
//
// This package reads the command line and puts these together. compat-tests/bench runs it
// as a process to compare servers.
package bench
