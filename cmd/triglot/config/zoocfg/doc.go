// Package zoocfg reads the configuration of a ZooKeeper 3.9 server: the file
// zoo.cfg with what it refers to (myid, the dynamic file), the system properties of
// the Java virtual machine as the command line and zkServer.sh's environment give
// them, and it knows which of the two wins.
//
// It has the rules of ZooKeeper's QuorumPeerConfig: which keys there are, which
// values fail a start and in which words, and that every other key becomes the
// system property zookeeper.<key>. It says which properties nobody looks at, here or
// in ZooKeeper.
//
// It opens no data, binds no address and knows none of Triglot's own options: package
// config makes those of a Config.
package zoocfg
