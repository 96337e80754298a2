package gozk

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// version is the ZooKeeper that the tests take the servers for: some want one that knows
// reconfig.
const version = "3.9.5"

// suite is how many tests run.
const suite = 47

// They wait most of their time, and run in several processes at once: two, and one for
// each test that takes long. mostAgain is how many may run a second time.
const (
	processes = 2
	mostAgain = 3
)

var alone = []string{"TestIntegration_Children", "TestIntegration_NoQuorum"}

// wholeTimeout bounds a run.
const wholeTimeout = 10 * time.Minute

// result is a line of a test's end; subtests are part of their test.
var result = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+)`)

func TestSuite(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "zk.test")
	build := exec.Command("go", "test", "-c", "-o", binary, "github.com/go-zookeeper/zk")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zkServer.sh"), []byte(script(t)), 0o755))

	known, err := exec.Command(binary, "-test.list", "^Test").Output()
	require.NoError(t, err)
	shares := make([][]string, processes)
	for i, name := range strings.Fields(string(known)) {
		if slices.Contains(alone, name) {
			shares = append(shares, []string{name})
		} else {
			shares[i%processes] = append(shares[i%processes], name)
		}
	}
	var mu sync.Mutex // guards outcomes and text
	outcomes, text := map[string]string{}, ""
	var wg sync.WaitGroup
	for _, names := range shares {
		wg.Go(func() {
			got, output := runSome(dir, binary, names)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(outcomes, got)
			text += output
		})
	}
	wg.Wait()
	wrong := unpassed(outcomes)
	require.LessOrEqual(t, len(wrong), mostAgain, "%v\n%s", wrong, text)
	if len(wrong) > 0 {
		// Each process draws its ports, and two may draw the same. What is wrong with a
		// server is wrong without others, too.
		t.Logf("these failed, and run once more by themselves: %v", wrong)
		again, output := runSome(dir, binary, wrong)
		maps.Copy(outcomes, again)
		text += output
	}
	require.Empty(t, unpassed(outcomes), "%s", text)
	require.GreaterOrEqual(t, len(outcomes), suite, "the suite is there:\n%s", text)
	t.Logf("%d of go-zookeeper's tests passed", len(outcomes))
}

// runSome runs tests by name. One without an outcome has failed: the process ended
// before.
func runSome(dir, binary string, names []string) (outcomes map[string]string, output string) {
	ctx, cancel := context.WithTimeout(context.Background(), wholeTimeout)
	defer cancel()
	only := "^(" + strings.Join(names, "|") + ")$"
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.run", only, "-test.timeout", wholeTimeout.String())
	cmd.Dir = dir // what the tests write is theirs
	cmd.Env = append(os.Environ(), "ZOOKEEPER_BIN_PATH="+dir, "ZK_VERSION="+version)
	text, err := cmd.CombinedOutput()
	outcomes = map[string]string{}
	for _, name := range names {
		outcomes[name] = fmt.Sprintf("none: %v", err)
	}
	for _, m := range result.FindAllStringSubmatch(string(text), -1) {
		outcomes[m[2]] = m[1]
	}
	return outcomes, string(text)
}

// unpassed are the tests that did not pass.
func unpassed(outcomes map[string]string) (names []string) {
	for name, outcome := range outcomes {
		if outcome != "PASS" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// script is the zkServer.sh that starts Triglot with the configuration that it is
// given.
func script(t *testing.T) string {
	t.Helper()
	triglot, err := server.Binary("triglot")
	require.NoError(t, err)
	return fmt.Sprintf("#!/bin/sh\nexec '%s' zookeeper \"$2\"\n", triglot)
}
