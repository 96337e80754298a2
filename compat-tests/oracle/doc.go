// Package oracle sends the same requests, in lock-step, to stock etcd and to the
// server under test, and compares every reply field by field.
//
// There are two sources of requests: the readable script in testdata, whose
// recorded replies are etcd's own, and a random generator that is a function of
// its seed. Both go over raw gRPC stubs, so that no client library hides or
// repairs anything.
//
// What differs on purpose is listed in allow.go, with the reason; all else is an
// error of the server under test. With TARGET=etcd both sides are etcd, and no
// difference shows that the comparison itself is right.
//
// The package owns the two servers of a Pair and every stream to them. It never
// waits by sleeping: a watch stream is brought to a known point by asking for
// its progress.
package oracle
