// Package gozk runs the tests of go-zookeeper, unmodified, against Triglot: they start
// servers through a zkServer.sh, and here that is `triglot zookeeper`. They cannot run
// against a ZooKeeper of today for comparison: they do not understand the date in its
// srvr.
package gozk
