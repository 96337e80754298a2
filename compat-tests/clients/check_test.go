package clients

import (
	"context"
	"flag"
	"os/exec"
	"strings"
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
		for attempt := 1; ; attempt++ {
			passed, verdict := etcdctlCheck(t, binary, process.Endpoint(), check)
			t.Logf("check %s, attempt %d:\n%s", check, attempt, verdict)
			if passed {
				break
			}
			require.Less(t, attempt, attemptsOfCheck)
			reference := server.StartT(t, server.Options{Target: server.Etcd})
			if passed, verdict = etcdctlCheck(t, binary, reference.Endpoint(), check); !passed {
				t.Skipf("this machine is too busy: a real etcd does not pass either:\n%s", verdict)
			}
		}
	}
}

// attemptsOfCheck is how often a check may be made: it judges the machine, too, of which
// other tests may have their part at the same time (150 writes a second, none longer than
// half a second). What a real etcd does not pass either says nothing.
const attemptsOfCheck = 3

// etcdctlCheck makes a check and returns what etcdctl says of it.
func etcdctlCheck(t *testing.T, binary, endpoint, check string) (passed bool, verdict string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, binary, "--endpoints", endpoint, "check", check).CombinedOutput()
	verdict = string(output)
	if at := strings.LastIndex(verdict, "p/s"); at >= 0 { // behind the bar of its progress
		verdict = verdict[at+len("p/s"):]
	}
	return err == nil && strings.Contains(verdict, "PASS") && !strings.Contains(verdict, "FAIL"), verdict
}
