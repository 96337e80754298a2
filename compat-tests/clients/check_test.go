package clients

import (
	"context"
	"flag"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

var checks = flag.Bool("checks", false, "run etcdctl's own checks of a server, which take over a minute")

// TestEtcdctlChecks runs what etcdctl has to judge a server by: `check perf` writes for a
// minute at a steady rate, `check datascale` looks at the memory that many keys take.
func TestEtcdctlChecks(t *testing.T) {
	if !*checks {
		t.Skip("it takes over a minute: go test ./clients -run Checks -args -checks, as make test-all does")
	}
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	binary, err := server.Binary("etcdctl")
	require.NoError(t, err)
	process := server.StartT(t, server.Options{Target: target, EtcdMode: true})
	for _, check := range []string{"perf", "datascale"} {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		output, err := exec.CommandContext(ctx, binary, "--endpoints", process.Endpoint(), "check", check).CombinedOutput()
		require.NoError(t, err, "check %s:\n%s", check, output)
		require.Contains(t, string(output), "PASS", check)
		require.NotContains(t, string(output), "FAIL", check)
		t.Logf("check %s:\n%s", check, output)
	}
}
