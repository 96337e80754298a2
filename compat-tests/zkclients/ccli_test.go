package zkclients

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/zkserver"
)

// cliMT is the shell of the C client, where Debian's zookeeper-bin puts it.
const cliMT = "/usr/lib/zookeeper/bin/cli_mt"

// TestCClient has the C client's shell run the same script on a real ZooKeeper and on
// the server under test, and compares what it prints.
func TestCClient(t *testing.T) {
	_, err := os.Stat(cliMT)
	require.NoError(t, err, "apt-get install zookeeper-bin")
	real := zkserver.StartT(t, zkserver.Options{TickTime: longTick, NoSync: true})
	ours := startT(t, longTick)

	output := make([][]string, 2)
	var wg sync.WaitGroup
	for i, endpoint := range []string{real.Endpoint(), ours.zk} {
		shell := startProgram(t, exec.Command("stdbuf", "-oL", cliMT, "-h", endpoint))
		wg.Go(func() { output[i] = typeScript(t, shell) })
	}
	wg.Wait()
	require.Empty(t, cmp.Diff(output[0], output[1]), "(-zookeeper +ours)")
}

// typeScript types the script, each line once the one before it has been answered, as
// the shell loses lines that come together.
func typeScript(t *testing.T, shell *program) []string {
	script, err := os.ReadFile(filepath.Join("testdata", "cli_mt.in"))
	require.NoError(t, err)
	shell.await("Got a new session id")
	var all []string
	for line := range strings.Lines(string(script)) {
		command, end, _ := strings.Cut(strings.TrimSpace(line), " | ")
		if strings.HasPrefix(command, "#") {
			continue
		}
		shell.tell(command)
		all = append(all, "> "+command)
		if end != "-" {
			all = append(all, maskShell(shell.until(end))...)
		}
	}
	shell.tell("quit")
	return all
}

var (
	shellTimes = regexp.MustCompile(`(time *=).*|(zxid=)[0-9a-f]+|(ephemeralOwner = )[1-9a-f][0-9a-f]+`)
	shellDelay = regexp.MustCompile(`^time = \d+ msec$`)
)

// maskShell leaves out what no two servers have in common. The order of children, which
// are indented, is nobody's promise.
func maskShell(lines []string) []string {
	var kept []string
	for _, line := range lines {
		if !shellDelay.MatchString(line) {
			kept = append(kept, shellTimes.ReplaceAllString(line, "$1$2$3..."))
		}
	}
	for from := 0; from < len(kept); {
		to := from + 1
		for strings.HasPrefix(kept[from], "\t") && to < len(kept) && strings.HasPrefix(kept[to], "\t") {
			to++
		}
		slices.Sort(kept[from:to])
		from = to
	}
	return kept
}
