// Package node runs an unmodified etcd client for Node, the package etcd3, against a
// server: what is in client.test.js.
//
// It owns the server, which it starts and ends, and node_modules, which npm fills.
package node
