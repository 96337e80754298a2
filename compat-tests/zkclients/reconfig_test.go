package zkclients

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/zkserver"
)

// reconfigRecord is what the program Reconfigurer prints on three real servers. To record
// it anew: RECORD=1 TARGET=zookeeper go test ./zkclients -run Admin.
const reconfigRecord = "testdata/reconfigurer.txt"

// superTest is the digest of super:test.
const superTest = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="

// TestAdmin has the stock ZooKeeperAdmin change an ensemble of three: what it returns, what
// watchers hear, and what it throws are as on three real ones. A follower leaves in the end:
// a real ensemble whose leader leaves may answer with ConnectionLoss.
func TestAdmin(t *testing.T) {
	servers, places, err := zkserver.StartEnsemble(context.Background(), zkserver.Options{
		Triglot: os.Getenv("TARGET") != "zookeeper", TickTime: longTick, NoSync: true,
		Config: []string{"reconfigEnabled=true", "DigestAuthenticationProvider.superDigest=" + superTest},
	}, 3)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, p := range servers {
			if t.Failed() {
				t.Logf("end of the log of %s:\n%s", p.Endpoint(), p.LogTail())
			}
			require.NoError(t, p.Kill()) // one of ours has ended by itself, as one that was removed
			require.NoError(t, p.Stop())
		}
	})
	observer, err := zkserver.FindPlace(4)
	require.NoError(t, err)
	leader := slices.IndexFunc(servers, func(p *zkserver.Process) bool {
		answer, err := p.Ask("srvr")
		return err == nil && strings.Contains(answer, "Mode: leader")
	})
	require.GreaterOrEqual(t, leader, 0, "nobody leads")
	leads, stays, leaves := places[leader], places[(leader+1)%3], places[(leader+2)%3]
	rest := leads.Line("participant") + "," + stays.Line("participant") + "," + observer.Line("observer")

	output, err := java(t, &target{}, time.Minute, "triglot.Reconfigurer",
		"127.0.0.1:"+strconv.Itoa(stays.Client), observer.Line("observer"), "4", rest).CombinedOutput()
	require.NoError(t, err, "%s", output)
	names := map[string]zkserver.Place{"leads": leads, "stays": stays, "leaves": leaves, "observer": observer}
	got := anonymous(string(output), names)
	if os.Getenv("RECORD") != "" {
		require.Equal(t, "zookeeper", os.Getenv("TARGET"), "what is recorded is ZooKeeper's")
		require.NoError(t, os.WriteFile(reconfigRecord, []byte(got), 0o644))
	}
	want, err := os.ReadFile(reconfigRecord)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// serverInOutput is a server in what the program prints.
var serverInOutput = regexp.MustCompile(`server\.(\d+)=`)

// anonymous has names for numbers and ports, and the servers of a configuration in their
// order.
func anonymous(output string, names map[string]zkserver.Place) string {
	var b strings.Builder
	for line := range strings.Lines(output) {
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		for role, p := range names {
			for kind, port := range map[string]int{"peers": p.Peer, "elections": p.Election, "clients": p.Client} {
				text = strings.ReplaceAll(text, strconv.Itoa(port), role+"-"+kind)
			}
		}
		text = serverInOutput.ReplaceAllStringFunc(text, func(s string) string {
			for role, p := range names {
				if s == fmt.Sprintf("server.%d=", p.ID) {
					return role + "="
				}
			}
			return s
		})
		for _, separator := range []string{"|", ","} {
			parts := strings.Split(text, separator)
			if last := len(parts) - 1; separator == "|" && last > 0 {
				slices.Sort(parts[:last])
			} else if name == "client configuration" {
				slices.Sort(parts)
			}
			text = strings.Join(parts, separator)
		}
		b.WriteString(name + ": " + text + "\n")
	}
	return b.String()
}
