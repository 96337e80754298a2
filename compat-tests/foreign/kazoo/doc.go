// Package kazoo runs the test suite of kazoo, ZooKeeper's client for Python, as it
// comes from PyPI and unmodified, against Triglot.
//
// The suite starts its servers itself: its harness writes a zoo.cfg, key stores and a
// login configuration and runs java with ZooKeeper's main class. shim/java stands in
// front of java in PATH and starts `triglot zookeeper` with the same file and the same
// system properties. An ensemble of three is started, kazoo's own default.
//
// known.txt lists every test that does not pass, with what becomes of it and why. The
// list is enforced both ways: a test that is not listed has to pass, and one that is
// has to end as it says. With TARGET=zookeeper a real ZooKeeper is judged by the same
// list.
package kazoo
