package node

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// runTimeout bounds a run; a first one fetches the packages.
const runTimeout = 5 * time.Minute

func TestNode(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		_, err := exec.LookPath(tool)
		require.NoError(t, err, "this test needs Node 20 or later: apt-get install nodejs npm")
	}
	process := server.StartT(t, server.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	npm := func(args ...string) string {
		cmd := exec.CommandContext(ctx, "npm", args...)
		cmd.Env = append(os.Environ(), "ETCD_ENDPOINT="+process.Endpoint())
		cmd.WaitDelay = 10 * time.Second
		output, err := cmd.CombinedOutput()
		require.NoError(t, err, "npm %v:\n%s", args, output)
		return string(output)
	}
	npm("ci", "--ignore-scripts", "--no-audit", "--no-fund")
	output := npm("test", "--silent")
	require.Regexp(t, `(?m)^# pass [1-9]`, output)
	require.Regexp(t, `(?m)^# (fail|cancelled|skipped) 0$`, output)
}
