// Package zkframes sends frames that no client sends to a real ZooKeeper 3.9 and
// to Triglot, and requires the same answers: bad handshakes, paths that are none in
// every request, nulls, lying lengths, flags that are none, multis that are none.
//
// It owns the two servers that it runs. What differs on purpose is listed, with
// the reason, and must differ.
package zkframes
