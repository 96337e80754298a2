// Package zkoracle sends the same requests, in lock-step, to a real ZooKeeper and
// to Triglot, and compares what comes back: errors, bodies, Stats, events and
// their order on each connection, and which connections are closed.
//
// There are two sources of requests: the readable scripts in testdata, whose
// recorded answers are ZooKeeper's own, and a random generator that is a function
// of its seed. Both are lines of one small language (TestScript lists the
// commands), so that a failing run of the generator is a script too. They go over
// a raw connection of this package's own: no client library hides or repairs
// anything, and malformed things can be sent.
//
// Answers are compared as texts. What no two servers share is named by what it
// relates to: a zxid by the number of the write that it belongs to, a session by
// the name that the script gave it; a time is shown only if it is not that of the
// zxid beside it. After each command every open connection reads the root, and what
// comes before the answer is shown: so each event has its place.
//
// What differs on purpose is listed in allow.go, with the reason; all else is an
// error of the server under test. With TARGET=zookeeper both sides are ZooKeeper,
// and no difference shows that the comparison itself is right.
package zkoracle
