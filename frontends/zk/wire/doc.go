// Package wire has ZooKeeper's messages: a type for each, with the fields that
// ZooKeeper's zookeeper.jute gives it, in that order.
//
// Every type has an Append that writes it and a Decode that reads it, so that the
// same types serve the server, the tests and a client. Append writes what it is
// given and allocates nothing but what dst needs to grow. Decode makes of any
// input either a message or an error of its Reader; then the message is
// incomplete and must not be used. Decode copies strings; byte slices alias the
// input.
//
// The package owns layouts, numbers and limits. Whether a path is legal, a
// version is right or an operation is allowed is for others to say.
package wire
