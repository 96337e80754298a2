// Package jars fetches the jars that a pom names, with Maven, into the repository's
// .build/compat directory, once for all test binaries.
//
// It owns those directories. It never runs what is in them.
package jars

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
)

// fetchTimeout bounds a run of Maven; a first one downloads up to some 100 MB.
const fetchTimeout = 10 * time.Minute

// Java and its clients log what goes wrong, to standard error (slf4j-simple).
const logConfig = `org.slf4j.simpleLogger.defaultLogLevel=warn
org.slf4j.simpleLogger.showDateTime=true
`

// Classpath is what java -cp takes to run the jars that compat-tests/<name>/pom.xml
// names, whose bytes pom is. They are fetched on first use, into a directory named
// after the pom. Test binaries of several packages run at once, hence the lock; a
// directory that has its name is complete.
func Classpath(name string, pom []byte) (classpath string, err error) {
	root, err := server.Root()
	if err != nil {
		return "", err
	}
	base := filepath.Join(root, ".build", "compat", name)
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
	if err := copyJars(filepath.Join(root, "compat-tests", name), partial); err != nil {
		return "", fmt.Errorf("fetch the jars of %s (apt-get install maven, if it is missing): %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(partial, "simplelogger.properties"), []byte(logConfig), 0o644); err != nil {
		return "", err
	}
	return classpath, os.Rename(partial, dir)
}

func copyJars(project, to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mvn", "--batch-mode", "--no-transfer-progress", "--quiet",
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+to)
	cmd.Dir = project
	cmd.WaitDelay = 10 * time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
}
