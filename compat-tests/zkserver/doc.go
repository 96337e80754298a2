// Package zkserver runs a real Apache ZooKeeper 3.9 for tests: a standalone server
// as a process of its own on a free port of the loopback interface, with its
// configuration, data and log in a directory of its own.
//
// It owns every process it starts, as package server does. Maven fetches the jars
// on first use into the repository's .build/compat/zkserver directory; pom.xml
// pins the versions. It never looks inside the server: what it knows comes from
// "srvr" and from the server's log.
package zkserver
