package zkclients

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// mavenTimeout bounds a run of Maven; a first one downloads some 50 MB.
const mavenTimeout = 10 * time.Minute

// compiled is the classpath of the Java programs, compiled once.
var compiled = sync.OnceValues(compileJava)

// compileJava has Maven compile the programs of java/, unless what it has done
// last was done of the same sources. Two test runs may meet here, hence the lock.
func compileJava() (classpath string, err error) {
	dir, err := filepath.Abs("java")
	if err != nil {
		return "", err
	}
	built := filepath.Join(dir, "target")
	if err := os.MkdirAll(built, 0o755); err != nil {
		return "", err
	}
	unlock, err := server.LockFile(filepath.Join(built, "lock"))
	if err != nil {
		return "", err
	}
	defer func() {
		if e := unlock(); err == nil {
			err = e
		}
	}()
	sum, err := hashFiles(filepath.Join(dir, "pom.xml"), filepath.Join(dir, "src"))
	if err != nil {
		return "", err
	}
	done := filepath.Join(built, "classpath-"+sum)
	if _, err := os.Stat(done); err != nil {
		if err := maven(dir, done); err != nil {
			return "", err
		}
	}
	jars, err := os.ReadFile(done)
	return filepath.Join(built, "test-classes") + ":" + string(jars), err
}

// maven compiles, and writes down the classpath last: once that file is there,
// all is.
func maven(dir, classpath string) error {
	for _, tool := range []string{"javac", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("this test needs a JDK (17 or later) and Maven: apt-get install default-jdk-headless maven: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), mavenTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mvn", "--batch-mode", "--no-transfer-progress", "--quiet",
		"test-compile", "dependency:build-classpath",
		"-Dmdep.includeScope=test", "-Dmdep.outputFile="+classpath)
	cmd.Dir = dir
	cmd.WaitDelay = 10 * time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn: %w\n%s", err, output)
	}
	return nil
}

// hashFiles is a short hash of all files below the paths.
func hashFiles(paths ...string) (string, error) {
	hash := sha256.New()
	for _, path := range paths {
		err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			fmt.Fprintf(hash, "%s %d\n%s", path, len(content), content)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}

// java is the command that runs a class of java/ against the server; the test
// ends it if it has not ended.
func java(t *testing.T, s *target, limit time.Duration, args ...string) *exec.Cmd {
	t.Helper()
	classpath, err := compiled()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "java", append([]string{
		"-cp", classpath, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dzk.endpoint=" + s.zk, "-Detcd.endpoint=" + s.etcd,
		fmt.Sprintf("-Dzk.tick=%d", tick.Milliseconds()),
		fmt.Sprintf("-Dordering.changes=%d", *changes),
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
	}, args...)...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// junit runs test classes and requires that they ran, so many tests of them, and
// well.
func junit(t *testing.T, s *target, limit time.Duration, tests int, classes ...string) {
	t.Helper()
	junitWith(t, s, limit, nil, tests, classes...)
}

// junitWith is junit with further system properties.
func junitWith(t *testing.T, s *target, limit time.Duration, properties []string, tests int, classes ...string) {
	t.Helper()
	args := append(properties,
		"org.junit.platform.console.ConsoleLauncher", "execute",
		"--disable-banner", "--disable-ansi-colors", "--details=tree",
	)
	for _, class := range classes {
		args = append(args, "--select-class=triglot."+class)
	}
	output, err := java(t, s, limit, args...).CombinedOutput()
	text := string(output)
	require.NoError(t, err, "%s", text)
	require.Contains(t, text, fmt.Sprintf("%d tests successful", tests))
	require.Contains(t, text, " 0 tests skipped")
	for line := range strings.Lines(text) {
		if !strings.ContainsAny(line, "✔╷[") && strings.TrimSpace(line) != "" {
			t.Log(strings.TrimSpace(line)) // the programs' own words
		}
	}
}

func TestJavaClient(t *testing.T) {
	junit(t, shared, time.Minute, 30, "ClientTest", "WatchTest", "SessionTest")
}

func TestCurator(t *testing.T) { junit(t, shared, time.Minute, 8, "CuratorTest") }

// TestExtended is what a zoo.cfg turns on, and what comes with it.
func TestExtended(t *testing.T) {
	s := startFile(t, zkserver.Options{
		Config: []string{"extendedTypesEnabled=true"}, JVM: []string{"-Dznode.container.checkIntervalMs=100"},
	})
	junit(t, s, 2*time.Minute, 34, "AclTest", "ExtendedTest", "RecipesTest")
}

func TestOrdering(t *testing.T) {
	limit := time.Minute + time.Duration(*changes)*2*time.Millisecond
	junit(t, startT(t, longTick), limit, 1, "OrderingTest")
}
