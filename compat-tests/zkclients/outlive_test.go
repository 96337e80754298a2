package zkclients

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// A client library at its defaults never needs a restart: what it was given, it has on
// three members of which one leader after the other is killed.
func TestClientsOutliveLeaders(t *testing.T) {
	kind, err := ensemble.KindFromEnv()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	c, err := ensemble.Start(ctx, ensemble.Options{Kind: kind})
	t.Cleanup(func() {
		for _, m := range c.Members {
			if t.Failed() {
				t.Logf("end of the log of %s:\n%s", m.Name, m.Log()[max(0, len(m.Log())-4000):])
			}
		}
		require.NoError(t, c.Close())
	})
	require.NoError(t, err)

	clients := make(map[string]*program)
	s := &target{}
	if kind.ZooKeeper() {
		hosts := strings.Join(c.ZKEndpoints(), ",")
		clients["curator"] = startProgram(t, java(t, s, 3*time.Minute, "triglot.Outlive", "curator", hosts))
		python, err := interpreter()
		require.NoError(t, err)
		cmd := exec.CommandContext(ctx, python, "-B", "-u", "outlive.py", hosts)
		cmd.Dir, cmd.Env = "python", os.Environ()
		clients["kazoo"] = startProgram(t, cmd)
	}
	if kind.Etcd() {
		urls := "http://" + strings.Join(c.EtcdEndpoints(), ",http://")
		clients["jetcd"] = startProgram(t, java(t, s, 3*time.Minute, "triglot.Outlive", "jetcd", urls))
	}
	owners := make(map[string]string)
	work := func(round int, since time.Time) {
		for _, client := range clients {
			client.tell(strconv.Itoa(round))
		}
		for name, client := range clients {
			_, owner, _ := strings.Cut(client.await("did "+strconv.Itoa(round)+" "), strconv.Itoa(round)+" ")
			if owners[name] == "" {
				owners[name] = owner
			}
			require.Equal(t, owners[name], owner, name)
			require.NotEqual(t, "GONE", owner, name)
			t.Logf("round %d: %s has worked %s later", round, name, time.Since(since).Round(time.Millisecond))
		}
	}
	work(0, time.Now())
	for round := 1; round <= 2; round++ {
		leader := c.Leader(ctx)
		require.NotNil(t, leader)
		killed := time.Now()
		require.NoError(t, leader.Kill())
		work(2*round-1, killed)
		require.NoError(t, leader.Restart(ctx))
		work(2*round, time.Now())
	}
}
