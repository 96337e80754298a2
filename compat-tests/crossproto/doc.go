// Package crossproto checks that the faces of one Triglot are faces of one store:
// stock clients of etcd (clientv3), of ZooKeeper (go-zookeeper) and of etcd's JSON
// gateway (net/http) change and watch the same paths, and each must see what the
// others did as its own protocol would show it.
//
// TestAcceptance is the list X1 to X14 of the reference, one subtest each (X11 waits
// for ACLs); TestMixed lets all three work on one subtree at once. The server is a
// process of its own, shared by the subtests, each of which keeps to a subtree of
// its own.
package crossproto
