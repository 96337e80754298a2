package clients

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestEtcdctl runs stock etcdctl against stock etcd and the server under test,
// and compares what it prints. What testdata records is the former. To record
// anew: TARGET=etcd go test ./clients -run TestEtcdctl -rewrite. Each file of
// testdata has a pair of servers of its own.
//
// The command etcdctl takes the arguments from the first line of its input and
// etcdctl's standard input from the lines after it. With lines=N, etcdctl is
// ended once it has printed so many lines. LEASE1 is the first lease that a
// server has granted, LEASE2 the second.
func TestEtcdctl(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	binary, err := server.Binary("etcdctl")
	require.NoError(t, err)
	scripts, err := filepath.Glob("testdata/etcdctl*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txt"), func(t *testing.T) {
			t.Parallel()
			runEtcdctl(t, binary, target, script)
		})
	}
}

// runEtcdctl runs a script on a fresh pair of servers.
func runEtcdctl(t *testing.T, binary string, target server.Target, script string) {
	start := func(target server.Target) *ctl {
		return &ctl{binary: binary, process: server.StartT(t, server.Options{
			Target: target, EtcdMode: true, AdvertisePeerURL: "http://127.0.0.1:2380", Args: []string{"--bcrypt-cost", "4"},
		})}
	}
	etcd, ours := start(server.Etcd), start(target)

	var differences []string // told in the end: datadriven stops at the first failure
	datadriven.RunTest(t, script, func(t *testing.T, d *datadriven.TestData) string {
		require.Equal(t, "etcdctl", d.Cmd, d.Pos)
		lines := 0
		d.MaybeScanArgs(t, "lines", &lines)
		arguments, stdin, _ := strings.Cut(d.Input, "\n")
		var want, got string
		var wg sync.WaitGroup
		wg.Go(func() { want = etcd.run(arguments, stdin, lines) })
		wg.Go(func() { got = ours.run(arguments, stdin, lines) })
		wg.Wait()
		if want != got {
			differences = append(differences, fmt.Sprintf("%s: etcdctl %s (-etcd +ours)\n%s", d.Pos, arguments,
				cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n"))))
		}
		return want
	})
	for _, difference := range differences {
		t.Error(difference)
	}
}

// ctl runs etcdctl against one server.
type ctl struct {
	binary  string
	process *server.Process
	leases  []string // the ids granted so far, as etcdctl prints them
}

// run returns what etcdctl prints and, if it is not 0, its exit code.
func (c *ctl) run(arguments, stdin string, lines int) string {
	args := strings.Fields(arguments)
	if args[0] == "txn" {
		stdin += "\n\n\n" // ends its three parts
	}
	for i := range args {
		for n, id := range c.leases {
			args[i] = strings.ReplaceAll(args[i], fmt.Sprintf("LEASE%d", n+1), id)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.binary, append([]string{"--endpoints", c.process.Endpoint()}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	if lines > 0 {
		return c.normalise(firstLines(cmd, lines))
	}
	output, err := cmd.CombinedOutput()
	text := string(output)
	if err != nil {
		text += err.Error() + "\n"
	}
	return c.normalise(text)
}

// firstLines returns the first lines that a command prints, and ends it.
func firstLines(cmd *exec.Cmd, lines int) string {
	var errors bytes.Buffer
	cmd.Stderr = &errors
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err.Error()
	}
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	var text strings.Builder
	for reader := bufio.NewReader(output); lines > 0; lines-- {
		line, err := reader.ReadString('\n')
		text.WriteString(line)
		if err != nil {
			fmt.Fprintf(&text, "ended early: %v\n", err)
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		fmt.Fprintf(&text, "kill: %v\n", err)
	}
	_, _ = io.Copy(io.Discard, output) // so that Wait may close the pipe
	_ = cmd.Wait()                     // always "signal: killed"
	return text.String() + errors.String()
}

// What no two servers have in common.
var (
	grantedLease = regexp.MustCompile(`lease ([0-9a-f]{16}) granted`)
	patterns     = []struct {
		pattern     *regexp.Regexp
		replacement string
	}{
		{regexp.MustCompile(`remaining\(\d+s\)`), "remaining(...)"},
		{regexp.MustCompile(`"ID" : \d{9,19}\n`), "\"ID\" : ...\n"},
		{regexp.MustCompile(`took = \S+`), "took = ..."},
		{regexp.MustCompile(`took \S+s\b`), "took ..."},
		{regexp.MustCompile(`"took":"\S+s"`), `"took":"..."`},
		{regexp.MustCompile(`(leader|mutex)/[0-9a-f]+`), "$1/..."},
		// Sizes and log indexes describe the engine.
		{regexp.MustCompile(`\d+(\.\d+)? k?B, \d+(\.\d+)? k?B, \d+%`), "SIZE, SIZE, PERCENT"},
		{regexp.MustCompile(`(true|false), (\d+), \d+, \d+, ,`), "$1, $2, INDEX, INDEX, ,"},
		{regexp.MustCompile(`"(DBSize|DBSizeInUse|RaftIndex|RaftAppliedIndex)" : [1-9]\d*`), `"$1" : NUMBER`},
		{regexp.MustCompile(`"(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex)":[1-9]\d*`), `"$1":NUMBER`},
		{regexp.MustCompile(`("hash":|"Hash" : |, )\d{6,10}\b`), "${1}HASH"},
		// The client's own log, of a request that failed.
		{regexp.MustCompile(`(?m)^{"level":"(warn|info)".*\n`), ""},
	}
)

func (c *ctl) normalise(text string) string {
	for _, match := range grantedLease.FindAllStringSubmatch(text, -1) {
		c.leases = append(c.leases, match[1])
	}
	for n, id := range c.leases {
		text = strings.ReplaceAll(text, id, fmt.Sprintf("LEASE%d", n+1))
	}
	text = strings.ReplaceAll(text, c.process.Endpoint(), "ENDPOINT")
	for _, p := range patterns {
		text = p.pattern.ReplaceAllString(text, p.replacement)
	}
	return text
}
