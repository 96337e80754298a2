// Package jetcd runs the Java programs of this folder, written for etcd with an
// unmodified jetcd, against a server of their own. It owns the server and the
// run of Maven; what is tested is in src/test/java.
package jetcd
