package gozk

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// left are the tests that do not run, each with the reason.
var left = map[string]string{
	"TestIntegration_IncrementalReconfig": reconfig,
	"TestIntegration_Reconfig":            reconfig,
	// It stops the server that it is connected to and fails if that was the leader: until
	// there is another one every server turns it away, ZooKeeper's too, and it does not try
	// twice.
	"TestIntegration_DNSHostProviderReconnect": "a race with the election",
}

// reconfig are what Triglot does not do: members are changed by etcd's protocol.
const reconfig = "changes the members by reconfig"

// suite is how many tests run.
const suite = 44

// wholeTimeout bounds the run.
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

	var skip []string
	for name := range left {
		skip = append(skip, "^"+name+"$")
	}
	sort.Strings(skip)
	ctx, cancel := context.WithTimeout(context.Background(), wholeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.skip", strings.Join(skip, "|"), "-test.timeout", wholeTimeout.String())
	cmd.Dir = dir // what the tests write is theirs
	cmd.Env = append(os.Environ(), "ZOOKEEPER_BIN_PATH="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	passed, wrong := 0, []string{}
	for _, m := range result.FindAllStringSubmatch(out.String(), -1) {
		switch m[1] {
		case "PASS":
			passed++
		default:
			wrong = append(wrong, m[1]+" "+m[2])
		}
	}
	require.Empty(t, wrong, "%s", out.String())
	require.NoError(t, err, "%s", out.String())
	require.GreaterOrEqual(t, passed, suite, "the suite is there")
	t.Logf("%d of go-zookeeper's tests passed, %d are left out", passed, len(left))
}

// script is the zkServer.sh that starts Triglot with the configuration that it is
// given.
func script(t *testing.T) string {
	t.Helper()
	triglot, err := server.Binary("triglot")
	require.NoError(t, err)
	return fmt.Sprintf("#!/bin/sh\nexec '%s' zookeeper \"$2\"\n", triglot)
}
