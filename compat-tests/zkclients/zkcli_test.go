package zkclients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/zkserver"
)

// zkCli is the command of ZooKeeper's own zkCli, which reads its standard input.
func zkCli(t *testing.T, endpoint string) *exec.Cmd {
	t.Helper()
	classpath, err := zkserver.Classpath()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "java", "-cp", classpath, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=off", zkserver.MainCLI, "-waitforconnection", "-server", endpoint)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// TestZkCli has zkCli run the same script on a fresh real ZooKeeper and on a
// fresh server under test, and compares what it prints.
func TestZkCli(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("testdata", "zkcli.in"))
	require.NoError(t, err)
	extended := []string{"extendedTypesEnabled=true"}
	real := zkserver.StartT(t, zkserver.Options{TickTime: tick, NoSync: true, Config: extended})
	ours := startFile(t, zkserver.Options{Config: extended})

	output := make([]string, 2)
	var wg sync.WaitGroup
	for i, endpoint := range []string{real.Endpoint(), ours.zk} {
		cmd := zkCli(t, endpoint)
		cmd.Stdin = strings.NewReader(string(script))
		wg.Go(func() {
			text, err := cmd.CombinedOutput()
			output[i] = mask(string(text))
			if err != nil {
				output[i] += err.Error()
			}
		})
	}
	wg.Wait()
	for _, part := range []string{"Created /cli/both-0000000002", "NodeChildrenChanged", "Sync is OK", "Not connected"} {
		require.Contains(t, output[0], part, "the script did not run to its end")
	}
	require.Empty(t, cmp.Diff(strings.Split(output[0], "\n"), strings.Split(output[1], "\n")), "(-zookeeper +ours)")
}

var (
	address   = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	timestamp = regexp.MustCompile(`(?m)^([cm]time) = .*$`)
	owner     = regexp.MustCompile(`(?m)^ephemeralOwner = 0x0*[1-9a-f][0-9a-f]*$`)
	zxid      = regexp.MustCompile(`(?m)^[cmp]Zxid = (0x[0-9a-f]+)$|zxid: (\d+)$`)
)

// mask leaves out of zkCli's output what no two servers have in common: zxids
// become their rank. What watches print comes from a thread of its own, so it is
// put behind the rest, in its order.
func mask(text string) string {
	text = address.ReplaceAllString(text, "SERVER")
	text = timestamp.ReplaceAllString(text, "$1 = TIME")
	text = owner.ReplaceAllString(text, "ephemeralOwner = SESSION")
	var zxids []int64
	value := func(match []string) int64 {
		n, err := strconv.ParseInt(match[1]+match[2], 0, 64)
		if err != nil {
			panic(err) // the pattern lets only numbers through
		}
		return n
	}
	for _, match := range zxid.FindAllStringSubmatch(text, -1) {
		zxids = append(zxids, value(match))
	}
	slices.Sort(zxids)
	zxids = slices.Compact(zxids)
	text = zxid.ReplaceAllStringFunc(text, func(found string) string {
		match := zxid.FindStringSubmatch(found)
		rank, _ := slices.BinarySearch(zxids, value(match))
		return strings.Replace(found, match[1]+match[2], fmt.Sprintf("ZXID%d", rank), 1)
	})

	var lines, events []string
	for line := range strings.Lines(text) {
		switch line = strings.TrimSpace(line); {
		case line == "" || line == "WATCHER::":
		case strings.HasPrefix(line, "WatchedEvent"):
			events = append(events, line)
		default:
			lines = append(lines, line)
		}
	}
	sortIdentities(lines)
	return strings.Join(append(lines, events...), "\n")
}

// sortIdentities sorts what whoami lists, in whose order ZooKeeper keeps a set.
func sortIdentities(lines []string) {
	for i, line := range lines {
		if line != "Auth scheme: User" {
			continue
		}
		to := i + 1
		for to < len(lines) && (strings.HasPrefix(lines[to], "ip: ") || strings.HasPrefix(lines[to], "digest: ")) {
			to++
		}
		slices.Sort(lines[i+1 : to])
	}
}
