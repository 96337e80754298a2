// Package sasl is the server's side of SASL's DIGEST-MD5 (RFC 2831), as ZooKeeper's
// servers speak it: one challenge, one answer, one proof that the server knows the
// password too.
//
// It answers what Java's mechanism under ZooKeeper 3.9 answers, byte for byte but for
// the nonce, and takes what that takes. It owns the state of one exchange, which is
// good for one answer. It never reads or writes a connection, knows no ACL, and keeps
// no password longer than a call.
//
// DIGEST-MD5 hashes with MD5 and proves nothing about the connection: without TLS
// around it, who listens may guess the password at leisure, and who is in between may
// go on in the client's name. It is here because ZooKeeper's clients have nothing else.
package sasl
