// Package certs holds the certificates of a server's listeners and makes the TLS
// handshakes with them.
//
// A Keeper loads what etcd's flags name: certificate, key, authorities, revocation
// list. It looks at the content of the files every ten seconds, and when it is
// told to, and takes what has changed into use for the connections that come after
// that; what cannot be read or does not fit together changes nothing. It warns
// before a certificate ends. A Listener makes the handshakes, off the path that
// accepts, and hands out connections whose client has been checked.
//
// Polling the content rather than waiting for file events is on purpose:
// Kubernetes replaces a directory by way of a symbolic link, which events miss.
//
// ZooKeeper's port has its certificates in stores: JKS, PKCS12 or PEM files that
// ZooKeeper's properties name (LoadStores). They are kept in the same way.
//
// The package owns the loaded certificates and the goroutines that poll and shake
// hands. It never decides what a client may do, and never writes but where it
// makes certificates itself (SelfSigned).
package certs
