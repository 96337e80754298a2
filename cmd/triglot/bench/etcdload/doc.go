// Package etcdload is what triglot bench asks of a server in etcd's protocol: gRPC, with
// messages that are written and read by hand, so that the client is cheap: a row of an
// answer is counted and not copied.
//
// It owns its connections, streams and leases, and ends them with Close.
package etcdload
