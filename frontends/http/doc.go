// Package httpfront is the plain HTTP face of a member: /health, /livez,
// /readyz, /version and /metrics with etcd's paths, bodies and status codes, and
// the means to serve them on the port that gRPC uses.
//
// It owns no state but the counters of its own checks. It sees the store through
// core.Store and core.Cluster only, it never writes, and it never binds a socket:
// cmd does that and hands the listeners over.
//
// # One port, two protocols
//
// An HTTP/2 client that knows what it talks to, as every gRPC client does, starts
// with the bytes "PRI * HTTP/2". No HTTP/1 request starts so. Splitter reads just
// enough of each new connection to tell, in a goroutine of that connection and
// under a deadline, and hands the connection with what was read to one of two
// listeners. The goroutine ends with the hand-over; what remains is one branch
// per Read.
//
// The package is called httpfront because it uses net/http on every page.
package httpfront
