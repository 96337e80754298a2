package jetcd

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
)

// runTimeout bounds a run of Maven; a first one downloads some 40 MB.
const runTimeout = 10 * time.Minute

func TestJetcd(t *testing.T) {
	for _, tool := range []string{"java", "mvn"} {
		_, err := exec.LookPath(tool)
		require.NoError(t, err, "this test needs a JDK (17 or later) and Maven: apt-get install default-jdk maven")
	}
	target, etcd, zookeeper := start(t)
	faces := []string{"-Detcd.endpoint=" + etcd}
	faces = append(faces, others(t, target)...)
	if target == server.Triglot {
		faces = append(faces, "-Dzookeeper.endpoint="+zookeeper)
	} else {
		t.Log("not run: ZnodeTest: etcd has no ZooKeeper face")
		faces = append(faces, "-Dtest=!ZnodeTest")
	}
	if several() { // it moves the leader under the other tests, and removes a member
		t.Log("not run: MaintenanceTest.theRestAnswersAsEtcd: it is written for a lone member")
		leave := "!MaintenanceTest#theRestAnswersAsEtcd"
		if target != server.Triglot {
			leave += ",!ZnodeTest"
		}
		faces = append(faces, "-Dtest="+leave)
	}

	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	args := append([]string{"--batch-mode", "--no-transfer-progress", "test"}, faces...)
	cmd := exec.CommandContext(ctx, "mvn", args...)
	cmd.WaitDelay = 10 * time.Second
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "mvn test:\n%s", output)

	// The programs' own words, as a user would see them.
	require.Contains(t, string(output), "\nconfig/db = localhost:3306\n")
	if target == server.Triglot {
		require.Contains(t, string(output), "\n/zk/config/db = localhost:3306\n")
	}
	require.Contains(t, string(output), "Failures: 0, Errors: 0, Skipped: 0")
	require.NotContains(t, string(output), "Tests run: 0")
	if testing.Verbose() {
		for line := range strings.Lines(string(output)) {
			if strings.Contains(line, "Tests run:") || strings.Contains(line, "config/db") {
				_, err := os.Stdout.WriteString(line)
				require.NoError(t, err)
			}
		}
	}
}

func several() bool { return os.Getenv("MEMBERS") == "3" }

// start starts what TARGET names, three members of it with MEMBERS=3.
func start(t *testing.T) (target server.Target, etcd, zookeeper string) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	if several() {
		c, err := ensemble.Start(context.Background(), ensemble.Options{Kind: ensemble.Kind(target)})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		require.NoError(t, err)
		return target, "http://" + strings.Join(c.EtcdEndpoints(), ",http://"), strings.Join(c.ZKEndpoints(), ",")
	}
	process := server.StartT(t, server.Options{Target: target})
	_, port, err := net.SplitHostPort(process.Endpoint())
	require.NoError(t, err)
	return target, "http://localhost:" + port, process.ZKEndpoint()
}

// others starts the servers that some tests have for themselves, and tells where they
// are: one for users and roles, one that serves TLS.
func others(t *testing.T, target server.Target) []string {
	users := server.StartT(t, server.Options{Target: target, Args: []string{"--bcrypt-cost", "4"}})
	pki, err := server.NewPKI(t.TempDir())
	require.NoError(t, err)
	secure := server.StartT(t, server.Options{Target: target, PKI: pki})
	return []string{
		"-Detcd.auth.endpoint=" + users.URL(),
		"-Detcd.tls.endpoint=" + secure.URL(),
		"-Detcd.tls.dir=" + pki.Dir,
	}
}
