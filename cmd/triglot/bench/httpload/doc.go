// Package httpload is what triglot bench asks of the JSON gateway of etcd's protocol, over
// HTTP/1.1: one request after the other on each connection.
//
// It owns its connections, and ends them with Close.
package httpload
