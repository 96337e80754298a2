// Package zkclients runs stock clients of ZooKeeper and of etcd's JSON gateway
// against a server of their own: the Java client and Curator (java/), kazoo and
// etcd3gw (python/), go-zookeeper, zkCli and curl. It owns the server, the runs of
// Maven, java and python, and the proxy between a client and a server that dies;
// what a Java or Python client does is in its own folder.
//
// TARGET=zookeeper runs what needs no etcd face against a real ZooKeeper instead:
// that shows that a test asks for nothing that ZooKeeper does not do.
package zkclients
