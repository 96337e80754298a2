package process

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// trio are three members, each a process, under the name etcd.
type trio struct {
	t       *testing.T
	target  server.Target
	names   []string
	clients []string // host:port
	peers   []string
	dirs    []string
	// args are those of every member.
	args   []string
	scheme string // of the peer URLs

	cmds []*exec.Cmd
	runs []*server.Run
	logs []*watched
}

func newTrio(t *testing.T, target server.Target, args ...string) *trio {
	c := &trio{t: t, target: target, args: args, scheme: "http", cmds: make([]*exec.Cmd, 4), runs: make([]*server.Run, 4), logs: make([]*watched, 4)}
	for i := range 4 { // the fourth is for who joins
		c.names = append(c.names, fmt.Sprintf("m%d", i+1))
		c.clients, c.peers, c.dirs = append(c.clients, freeAddress(t)), append(c.peers, freeAddress(t)), append(c.dirs, t.TempDir())
	}
	return c
}

func (c *trio) peerURL(i int) string { return c.scheme + "://" + c.peers[i] }

// initial is the --initial-cluster of the first n members.
func (c *trio) initial(n int) string {
	var pairs []string
	for i := range n {
		pairs = append(pairs, c.names[i]+"="+c.peerURL(i))
	}
	return strings.Join(pairs, ",")
}

// start starts a member; args win over what it has otherwise.
func (c *trio) start(i int, args ...string) {
	c.t.Helper()
	given := slices.Concat(c.args, args)
	all := slices.Clone(given)
	for _, d := range []string{
		"--name=" + c.names[i], "--data-dir=" + filepath.Join(c.dirs[i], "data"), "--initial-cluster-token=trio",
		"--listen-client-urls=http://" + c.clients[i], "--advertise-client-urls=http://" + c.clients[i],
		"--listen-peer-urls=" + c.peerURL(i), "--initial-advertise-peer-urls=" + c.peerURL(i), "--initial-cluster=" + c.initial(3),
	} {
		name, _, _ := strings.Cut(d, "=")
		if !slices.ContainsFunc(given, func(a string) bool { return strings.HasPrefix(a, name+"=") }) {
			all = append(all, d)
		}
	}
	c.cmds[i], c.runs[i], c.logs[i] = begin(c.t, string(c.target), c.dirs[i], nil, all)
}

// ready waits until members serve.
func (c *trio) ready(members ...int) {
	c.t.Helper()
	for _, i := range members {
		select {
		case <-c.logs[i].found:
		case <-c.runs[i].Done():
			require.Fail(c.t, "a member ended", "%s:\n%s", c.names[i], c.logs[i])
		case <-time.After(patience):
			require.Fail(c.t, "a member does not serve", "%s:\n%s", c.names[i], c.logs[i])
		}
	}
}

// ended waits for the end of a member and returns its exit status.
func (c *trio) ended(i int) int {
	c.t.Helper()
	select {
	case <-c.runs[i].Done():
	case <-time.After(patience):
		require.Fail(c.t, "a member does not end", "%s:\n%s", c.names[i], c.logs[i])
	}
	return c.cmds[i].ProcessState.ExitCode()
}

// logged waits until a member has logged a text.
func (c *trio) logged(i int, text string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return strings.Contains(c.logs[i].String(), text) }, patience, 20*time.Millisecond,
		"%s has not logged %q:\n%s", c.names[i], text, c.logs[i])
}

// ctl runs etcdctl against a member.
func (c *trio) ctl(i int, args ...string) (string, bool) {
	c.t.Helper()
	etcdctl, err := server.Binary("etcdctl")
	require.NoError(c.t, err)
	return tool(c.t, etcdctl, append([]string{"--endpoints=http://" + c.clients[i], "--command-timeout=10s"}, args...)...)
}

func (c *trio) mustCtl(i int, args ...string) string {
	c.t.Helper()
	out, ok := c.ctl(i, args...)
	require.True(c.t, ok, "%v: %s", args, out)
	return out
}

// soon runs etcdctl until it succeeds: a leader may be missing.
func (c *trio) soon(i int, args ...string) string {
	c.t.Helper()
	var out string
	require.Eventually(c.t, func() (ok bool) {
		out, ok = c.ctl(i, args...)
		return ok
	}, patience, 100*time.Millisecond)
	return out
}

// changed changes the members. Both want all of them to have been connected for 5 s.
func (c *trio) changed(args ...string) {
	c.t.Helper()
	var out string
	require.Eventually(c.t, func() (ok bool) {
		out, ok = c.ctl(0, args...)
		return ok || !strings.Contains(out, "unhealthy cluster")
	}, patience, 200*time.Millisecond)
	require.NotContains(c.t, out, "Error", "%v", args)
}

// Three processes with the flags of an etcd's systemd unit form a cluster whose peers
// show each other certificates; one that was killed comes back.
func TestThreeProcesses(t *testing.T) {
	both(t, func(t *testing.T, target server.Target) {
		pki, err := server.NewPKI(t.TempDir())
		require.NoError(t, err)
		c := newTrio(t, target, "--peer-cert-file="+pki.Path("server.pem"), "--peer-key-file="+pki.Path("server-key.pem"),
			"--peer-trusted-ca-file="+pki.Path("ca.pem"), "--peer-client-cert-auth")
		c.scheme = "https"
		for i := range 3 {
			c.start(i)
		}
		c.ready(0, 1, 2)
		for i := range 3 {
			c.mustCtl(i, "put", fmt.Sprintf("k%d", i), "v")
			require.Contains(t, c.mustCtl((i+1)%3, "get", fmt.Sprintf("k%d", i)), "v")
		}
		require.Equal(t, 3, strings.Count(c.mustCtl(1, "member", "list"), "started"))
		out := c.mustCtl(0, "endpoint", "status", "--cluster", "-w", "fields")
		require.Equal(t, 3, strings.Count(out, `"Endpoint"`), out)

		require.NoError(t, c.runs[0].Kill())
		c.soon(1, "put", "while-one-is-gone", "v")
		c.start(0)
		c.ready(0)
		require.Contains(t, c.mustCtl(0, "get", "while-one-is-gone"), "v")
	})
}

// A member that is given another token is of another cluster (design, bad input). etcd's
// waits for ever, and its peers refuse it; Triglot's asks its peers before it founds
// anything, and ends.
func TestWrongToken(t *testing.T) {
	both(t, func(t *testing.T, target server.Target) {
		c := newTrio(t, target)
		c.start(0)
		c.start(1)
		c.ready(0, 1)
		c.start(2, "--initial-cluster-token=another")
		if target == server.Etcd {
			c.logged(2, "request cluster ID mismatch")
			c.logged(0, "request cluster ID mismatch")
		} else {
			require.Equal(t, 1, c.ended(2))
			require.Contains(t, c.logs[2].String(), "--initial-cluster-token describe cluster")
			require.NoDirExists(t, filepath.Join(c.dirs[2], "data"), "nothing was founded")
		}
		c.mustCtl(0, "put", "k", "v")
		select {
		case <-c.logs[2].found:
			require.Fail(t, "a member of another cluster serves", "%s", c.logs[2])
		default:
		}
		c.start(2)
		if target == server.Triglot { // etcd's has founded another cluster
			c.ready(2)
			require.Contains(t, c.mustCtl(2, "get", "k"), "v")
		}
	})
}

// A member that was added joins; one that names other members than there are does not.
// One that was removed ends, and does not come back (etcd T-100, T-101).
func TestJoinAndLeave(t *testing.T) {
	both(t, func(t *testing.T, target server.Target) {
		c := newTrio(t, target)
		for i := range 3 {
			c.start(i)
		}
		c.ready(0, 1, 2)
		c.mustCtl(0, "put", "k", "v")
		joining := []string{"--initial-cluster-state=existing", "--initial-cluster=" + c.initial(4)}
		c.start(3, joining...)
		require.Equal(t, 1, c.ended(3), "it was not added: %s", c.logs[3])
		unequal := map[server.Target]string{server.Etcd: "member count is unequal", server.Triglot: "names 4 members, the cluster of"}
		require.Contains(t, c.logs[3].String(), unequal[target])

		c.changed("member", "add", c.names[3], "--peer-urls="+c.peerURL(3))
		c.start(3, joining...)
		c.ready(3)
		require.Contains(t, c.mustCtl(3, "get", "k"), "v")

		list := c.mustCtl(0, "member", "list")
		id := ""
		for line := range strings.Lines(list) {
			if strings.Contains(line, c.names[3]) {
				id, _, _ = strings.Cut(line, ",")
			}
		}
		require.NotEmpty(t, id, list)
		c.changed("member", "remove", id)
		require.Equal(t, 0, c.ended(3), "%s", c.logs[3])
		require.Contains(t, c.logs[3].String(), "removed")
		c.start(3, joining...)
		if status := c.ended(3); target == server.Triglot { // etcd ends with 0 or with 1
			require.Equal(t, 1, status, "%s", c.logs[3])
		}
		require.Contains(t, c.logs[3].String(), "removed")
	})
}

// What one member alone can see to be wrong ends it at once.
func TestFoundingMistakes(t *testing.T) {
	for name, args := range map[string][]string{
		"another URL":         {"--initial-advertise-peer-urls=http://127.0.0.1:1"},
		"one URL twice":       {"--initial-cluster=m1=http://127.0.0.1:1,m2=http://127.0.0.1:1", "--initial-advertise-peer-urls=http://127.0.0.1:1"},
		"a name twice":        {"--initial-cluster=m1=http://127.0.0.1:1,m1=http://127.0.0.1:2,m2=http://127.0.0.1:3", "--initial-advertise-peer-urls=http://127.0.0.1:1"},
		"not mentioned":       {"--initial-cluster=m2=http://127.0.0.1:1"},
		"nobody to join":      {"--initial-cluster-state=existing"},
		"alone, and existing": {"--initial-cluster-state=existing", "--initial-cluster=m1=http://127.0.0.1:1", "--initial-advertise-peer-urls=http://127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, target server.Target) {
				c := newTrio(t, target)
				c.start(0, args...)
				require.Equal(t, 1, c.ended(0), "%s", c.logs[0])
			})
		})
	}
}
