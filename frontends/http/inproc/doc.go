// Package inproc is a gRPC channel within the process: what is registered with it
// as with a grpc.Server is called through it as through a grpc.ClientConn, with
// no socket, no encoding and no HTTP/2 in between. The JSON gateway calls the
// etcd face through one.
//
// It owns the hand-over of messages, the life of a call and the goroutine of each
// streaming handler. It knows no service and no rule.
//
// # Who calls
//
// A handler finds the caller as it would behind a network: peer.FromContext. The
// channel takes the peer of the context that the call is made with, so whoever
// makes the call vouches for it; nothing that travels as metadata can stand in
// for it. Outgoing metadata of the caller is incoming metadata of the handler.
//
// # Who owns a message
//
// A unary request belongs to the handler once the call is made, and the reply to
// the caller once it returns. Messages of a stream are copied: either side may go
// on using its own.
package inproc
