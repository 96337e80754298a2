package zkserver

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
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

// fetchTimeout bounds a run of Maven; a first one downloads some 30 MB.
const fetchTimeout = 10 * time.Minute

// Java and its clients log what goes wrong, to standard error.
const logConfig = `org.slf4j.simpleLogger.defaultLogLevel=warn
org.slf4j.simpleLogger.showDateTime=true
`

// fetched is Classpath's answer for the life of this process.
var fetched = sync.OnceValues(fetch)

// Classpath is what java -cp takes to run ZooKeeper's server, zkCli or a Java
// client. The jars are fetched on first use.
func Classpath() (string, error) { return fetched() }

// fetch copies the jars that the pom names into a directory named after the pom.
// Test binaries of several packages run at once, hence the lock; a directory
// that has its name is complete.
func fetch() (classpath string, err error) {
	root, err := server.Root()
	if err != nil {
		return "", err
	}
	base := filepath.Join(root, ".build", "compat", "zookeeper")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	unlock, err := server.LockFile(base + ".lock")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()

	dir := filepath.Join(base, fmt.Sprintf("%x", sha256.Sum256(append(pom, logConfig...)))[:12])
	classpath = dir + string(os.PathListSeparator) + filepath.Join(dir, "*")
	if _, err := os.Stat(dir); err == nil {
		return classpath, nil
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", err
	}
	if err := copyJars(root, partial); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(partial, "simplelogger.properties"), []byte(logConfig), 0o644); err != nil {
		return "", err
	}
	return classpath, os.Rename(partial, dir)
}

func copyJars(root, to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mvn", "--batch-mode", "--no-transfer-progress", "--quiet",
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+to)
	cmd.Dir = filepath.Join(root, "compat-tests", "zkserver")
	cmd.WaitDelay = 10 * time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch ZooKeeper (apt-get install maven, if it is missing): %w\n%s", err, output)
	}
	return nil
}
