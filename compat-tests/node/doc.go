// Package node runs unmodified clients for Node against a server: the package etcd3
// (client.test.js) and the package node-zookeeper-client (zookeeper.test.js).
//
// It owns the server, which it starts and ends, and node_modules, which npm fills.
package node
