package zkserver

import (
	_ "embed"
	"sync"

	"github.com/triglot/triglot/compat-tests/jars"
)

// Version is the version of the ZooKeeper that pom.xml names.
const Version = "3.9.5"

// The main classes of the jars that Classpath names.
const (
	MainServer = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
	MainCLI    = "org.apache.zookeeper.ZooKeeperMain" // zkCli.sh
)

//go:embed pom.xml
var pom []byte

// fetched is Classpath's answer for the life of this process.
var fetched = sync.OnceValues(func() (string, error) { return jars.Classpath("zkserver", pom) })

// Classpath is what java -cp takes to run ZooKeeper's server, zkCli or a Java
// client. The jars are fetched on first use.
func Classpath() (string, error) { return fetched() }
