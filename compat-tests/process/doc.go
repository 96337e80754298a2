// Package process holds the processes side by side: what the binaries of etcd and
// Triglot do with the same command line, environment and files, and with TLS, when
// nobody but the shell and etcdctl looks at them.
//
// It has tests only.
package process
