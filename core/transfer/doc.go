// Package transfer carries a checkpoint of the state from one member to another, over
// a connection that somebody else has opened.
//
// # The conversation
//
// The receiver asks (Ask). The sender makes a checkpoint, or has one, says what files it
// has (Offer, Files), and the receiver what it has of them already: how many bytes of
// which, with their checksum (Have, Ready). The sender compares these with its own files,
// and sends each file from where both agree, else from its beginning (Begin, Data), and
// its checksum (Sum). When all files are durable at the receiver, both have said End. So
// a transfer that was cut off goes on where it was, on the same checkpoint or on another
// one; a file is the same if its bytes are.
//
// Every message has a checksum of its own, every file another one.
//
// # What it is
//
// Sender and Receiver are step functions: messages in, messages out, without goroutine,
// clock or connection. Send and Receive drive them over a connection. The package owns
// nothing: the checkpoint is the sender's, the directory the receiver's. It never looks
// into a file, and never trusts a length, a name or a number that it is sent.
package transfer
