package node

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// runTimeout bounds a run; a first one fetches the packages.
const runTimeout = 5 * time.Minute

// TestNode runs both clients against Triglot; that of ZooKeeper against a real one if
// TARGET=zookeeper.
func TestNode(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		_, err := exec.LookPath(tool)
		require.NoError(t, err, "this test needs Node 20 or later: apt-get install nodejs npm")
	}
	if os.Getenv("TARGET") == "zookeeper" {
		real := zkserver.StartT(t, zkserver.Options{})
		runTests(t, "test:zookeeper", "ZOOKEEPER_ENDPOINT="+real.Endpoint())
		return
	}
	process := server.StartT(t, server.Options{})
	runTests(t, "test", "ETCD_ENDPOINT="+process.Endpoint(), "ZOOKEEPER_ENDPOINT="+process.ZKEndpoint())
}

// runTests has npm run a script of package.json.
func runTests(t *testing.T, script string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	npm := func(args ...string) string {
		cmd := exec.CommandContext(ctx, "npm", args...)
		cmd.Env = append(os.Environ(), env...)
		cmd.WaitDelay = 10 * time.Second
		output, err := cmd.CombinedOutput()
		require.NoError(t, err, "npm %v:\n%s", args, output)
		return string(output)
	}
	npm("ci", "--ignore-scripts", "--no-audit", "--no-fund")
	output := npm("run", script, "--silent")
	require.Regexp(t, `(?m)^# pass [1-9]`, output)
	require.Regexp(t, `(?m)^# (fail|cancelled|skipped) 0$`, output)
}
