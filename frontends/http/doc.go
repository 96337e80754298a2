// Package httpfront is the HTTP face of a member: etcd's JSON gateway below /v3/,
// and /health, /livez, /readyz, /version, /metrics and /debug/ with etcd's paths,
// bodies and status codes; and the means to serve them on the port that gRPC uses.
//
// It owns no state but the counters of its own checks. Of the store it sees
// core.Store and core.Cluster, for the checks; what the gateway is asked it passes
// to the etcd face, through the inproc channel, and evaluates none of it. It never
// binds a socket: cmd does that and hands the listeners over.
//
// # The gateway
//
// The translation is etcd's own generated code. gateway.go says what it serves and
// who the caller is, json.go how JSON is written, with errors that clients of both
// versions of the gateway understand, and body.go what a body may be. Lock and
// Election have no paths yet: 404, as for any path that there is not.
//
// # One port, two protocols
//
// Splitter reads just enough of each new connection to tell whose it is, in a
// goroutine of that connection and under a deadline, and hands the connection with
// what was read to one of two listeners: HTTP/1 by its first bytes, HTTP/2 by the
// content type of its first request. It looks at what is said, not at how it is
// carried: a listener below it that speaks TLS changes nothing. The goroutine ends
// with the hand-over; what remains is one branch per Read.
//
// The package is called httpfront because it uses net/http on every page.
package httpfront
