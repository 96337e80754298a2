package node

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// TestFoundersRefuse lists what a member is not founded from when another founder is
// there to say so: one line, and nothing on disk.
func TestFoundersRefuse(t *testing.T) {
	c := newTestCluster(t, 2, nil)
	c.ready()
	base := c.configs[1]
	for _, x := range []struct {
		name  string
		spoil func(cfg *Config)
		want  string
	}{
		{"another token", func(cfg *Config) { cfg.Cluster.Token = "other" }, "--initial-cluster and --initial-cluster-token describe cluster"},
		{"one more member", func(cfg *Config) {
			cfg.Cluster.Peers = append(peersOf(0, 1), Peer{Name: "x", URLs: []string{"http://x:1"}})
		}, "give all members the same"},
		{"another name", func(cfg *Config) {
			cfg.Cluster.Peers = peersOf(0, 1)
			cfg.Cluster.Peers[0].Name = "x"
		}, `is the member "m0", but --initial-cluster calls it "x"`},
		{"another mount", func(cfg *Config) { cfg.Cluster.Mount = "/y" }, "founds the cluster with --zk-prefix=/zk, this one with /y"},
		{"a member that has started", func(*Config) {}, "has already been bootstrapped, but its data directory is empty"},
		{"a name twice", func(cfg *Config) {
			cfg.Cluster.Peers = peersOf(0, 1)
			cfg.Cluster.Peers[0].Name = testName(1)
		}, `two members of the initial cluster have the name "m1"`},
		{"a URL twice", func(cfg *Config) {
			cfg.Cluster.Peers = append(peersOf(0, 1), Peer{Name: "x", URLs: []string{testURL(0)}})
		}, "the initial cluster has the peer URL http://m0:2380 twice"},
		{"a member that is not named", func(cfg *Config) { cfg.Cluster.Peers = peersOf(0) }, `--initial-cluster does not mention "m1"`},
		{"an URL that leads elsewhere", func(cfg *Config) {
			dial := cfg.Peers.Dial
			cfg.Peers.Dial = func(ctx context.Context, url string) (net.Conn, error) { return dial(ctx, testURL(1)) }
		}, "which has other peer URLs: the URL leads elsewhere"},
	} {
		t.Run(x.name, func(t *testing.T) {
			cfg := base
			cfg.FS = storage.NewCrashableMemFS()
			cfg.Peers.Listeners = nil
			x.spoil(&cfg)
			requireRefused(t, cfg, x.want)
		})
	}
}

// requireRefused starts a member that must not be, and finds nothing on disk.
func requireRefused(t *testing.T, cfg Config, want string) {
	t.Helper()
	_, err := Start(cfg)
	require.ErrorContains(t, err, want)
	require.NotContains(t, err.Error(), "\n")
	_, err = cfg.FS.Stat(cfg.DataDir)
	require.Error(t, err)
}

func peersOf(members ...int) []Peer {
	var peers []Peer
	for _, i := range members {
		peers = append(peers, Peer{Name: testName(i), URLs: []string{testURL(i)}})
	}
	return peers
}

// TestJoinRefuses lists what a member does not join.
func TestJoinRefuses(t *testing.T) {
	c := newTestCluster(t, 2, loosely)
	c.ready()
	leader := c.waitLeader()
	added, _, err := c.nodes[leader].Membership().Add(testContext(t), core.Principal{}, []string{testURL(2)}, true)
	require.NoError(t, err)
	base := c.config(2, peersOf(0, 1, 2))
	base.Cluster.Existing = true
	other := newTestCluster(t, 1, nil)
	other.ready()
	elsewhere := func(cfg *Config, to func(ctx context.Context) (net.Conn, error)) {
		dial := cfg.Peers.Dial
		cfg.Peers.Dial = func(ctx context.Context, url string) (net.Conn, error) {
			if url == testURL(1) {
				return to(ctx)
			}
			return dial(ctx, url)
		}
	}
	for _, x := range []struct {
		name  string
		spoil func(cfg *Config)
		want  string
	}{
		{"a member that is missing", func(cfg *Config) { cfg.Cluster.Peers = peersOf(0, 2) }, "--initial-cluster names 2 members, the cluster of http://m0:2380 has 3"},
		{"a member too many", func(cfg *Config) { cfg.Cluster.Peers = peersOf(0, 1, 2, 3) }, "names 4 members"},
		{"a member that was not added", func(cfg *Config) {
			cfg.Cluster.Peers, cfg.Name, cfg.Cluster.AdvertisePeerURLs = peersOf(0, 1, 3), testName(3), []string{testURL(3)}
		}, "names no member with the peer URLs [http://m2:2380]"},
		{"a member that has started", func(cfg *Config) {
			cfg.Cluster.Peers, cfg.Name, cfg.Cluster.AdvertisePeerURLs = peersOf(0, 1, 2), testName(1), []string{testURL(1)}
		}, "has already been bootstrapped"},
		{"another mount", func(cfg *Config) { cfg.Cluster.Mount = "/y" }, "--zk-prefix=/y is given, but the cluster was founded with /zk"},
		{"two clusters", func(cfg *Config) {
			elsewhere(cfg, func(ctx context.Context) (net.Conn, error) { return other.configs[0].Peers.Dial(ctx, testURL(0)) })
		}, "must name the members of one"},
		{"a URL that leads elsewhere", func(cfg *Config) {
			dial := cfg.Peers.Dial
			elsewhere(cfg, func(ctx context.Context) (net.Conn, error) { return dial(ctx, testURL(0)) })
		}, "http://m1:2380 is member"},
		{"nobody", func(cfg *Config) {
			cfg.Peers.Dial = func(context.Context, string) (net.Conn, error) { return nil, errors.New("connection refused") }
		}, "cannot join: no other member of --initial-cluster says who it is"},
	} {
		t.Run(x.name, func(t *testing.T) {
			cfg := base
			cfg.FS = storage.NewCrashableMemFS()
			x.spoil(&cfg)
			requireRefused(t, cfg, x.want)
		})
	}

	// One that was removed before it joined is told so.
	_, err = c.nodes[leader].Membership().Remove(testContext(t), core.Principal{}, added.ID)
	require.NoError(t, err)
	requireRefused(t, base, "names 3 members")
}

// TestCopiedDirectory: the data directory of one member is not another's.
func TestCopiedDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 2, nil)
		c.ready()
		c.stop(0)
		c.stop(1)
		for _, trust := range []bool{false, true} {
			cfg := c.configs[1]
			cfg.Cluster.TrustDataDir = trust
			cfg.FS = storage.CrashClone(c.configs[0].FS.(*storage.MemFS), 100, 1)
			_, err := Start(cfg)
			require.ErrorContains(t, err, "data directory data belongs to member")
			require.Equal(t, trust, errorHas(err, "it was copied"))
		}
	})
}

func errorHas(err error, text string) bool { return strings.Contains(err.Error(), text) }

// leaky is a connection that breaks after so many bytes.
type leaky struct {
	net.Conn
	left int
}

func (l *leaky) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.Join(errors.New("the connection broke"), l.Close())
	}
	n, err := l.Conn.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// TestJoinResumes: a join that was cut short leaves nothing that hinders the next, nor a
// member.
func TestJoinResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, loosely)
		c.ready()
		putMany(t, c.nodes[0], 0, 200)
		_, _, err := c.nodes[0].Membership().Add(testContext(t), core.Principal{}, []string{testURL(1)}, true)
		require.NoError(t, err)
		cfg := c.config(1, peersOf(0, 1))
		cfg.Cluster.Existing, cfg.Timing.Election = true, 5*testHeartbeat
		dial := cfg.Peers.Dial
		cfg.Peers.Dial = func(ctx context.Context, url string) (net.Conn, error) {
			conn, err := dial(ctx, url)
			return &leaky{conn, 2000}, err // enough to say who it is
		}
		_, err = Start(cfg)
		require.ErrorContains(t, err, "cannot join, as no member gives this one its state; what was received is kept")
		_, founded, err := readIdentity(cfg.FS, cfg.DataDir)
		require.NoError(t, err)
		require.False(t, founded)

		cfg.Peers.Dial = dial
		cfg.FS = storage.CrashClone(cfg.FS.(*storage.MemFS), 0, 1)
		c.configs, c.nodes = append(c.configs, cfg), append(c.nodes, nil)
		c.start(1)
		c.ready()
		checkMany(t, c.nodes[1], 200)
	})
}

// TestHandOver: a leader that stops leaves another one behind (T-102).
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const election = 600 * time.Millisecond
		c := newTestCluster(t, 3, func(_ int, cfg *Config) { cfg.Timing.Election = election })
		c.ready()
		leader := c.waitLeader()
		put(t, c.nodes[leader], "a", "b")
		began := time.Now()
		c.stop(leader)
		next := c.waitLeader()
		require.Less(t, time.Since(began), 500*time.Millisecond, "an election would take longer")
		t.Logf("a new leader after %v", time.Since(began))
		put(t, c.nodes[next], "a", "c")
	})
}

// TestMoveLeader is T-102.
func TestMoveLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(i int, cfg *Config) {
			cfg.Cluster.Peers = append([]Peer(nil), cfg.Cluster.Peers...)
			cfg.Cluster.Peers[2].Learner = true
		})
		c.ready()
		leader := c.waitLeader()
		follower := 1 - leader
		move := func(at int, to core.MemberID) error {
			return c.nodes[at].MoveLeader(testContext(t), core.Principal{}, to)
		}
		require.ErrorIs(t, move(follower, c.id(follower)), core.NotLeader)
		require.ErrorIs(t, move(leader, 1), core.BadLeaderTransferee)
		require.ErrorIs(t, move(leader, c.id(2)), core.BadLeaderTransferee)
		require.NoError(t, move(leader, c.id(leader)))
		require.NoError(t, move(leader, c.id(follower)))
		require.Equal(t, c.id(follower), c.nodes[leader].Self().Leader)
		put(t, c.nodes[leader], "a", "b")
	})
}

// TestForceNewCluster goes on with one member of a dead cluster, and all that it has.
func TestForceNewCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, loosely)
		c.ready()
		leader := c.waitLeader()
		putMany(t, c.nodes[leader], 0, 50)
		c.waitApplied()
		was := c.nodes[leader].Self()
		for i := range c.nodes {
			c.crash(i, 100)
		}
		// Without the others, and without the flag, it has no leader.
		survivor := leader
		c.configs[survivor].Cluster.ForceNew = true
		for run := range 2 { // the flag may stay
			c.start(survivor)
			c.ready()
			checkMany(t, c.nodes[survivor], 50)
			members, err := c.nodes[survivor].Members(testContext(t), true)
			require.NoError(t, err)
			require.Len(t, members, 1)
			self := c.nodes[survivor].Self()
			require.Equal(t, was.ClusterID, self.ClusterID)
			require.Equal(t, was.Member, self.Member)
			put(t, c.nodes[survivor], "alone", "v")
			if run == 0 {
				c.crash(survivor, 0) // the log began anew behind a state that must be durable
			} else {
				c.stop(survivor)
			}
		}
		// It is a cluster like any other, to which members can be added, but not those.
		c.configs[survivor].Cluster.ForceNew = false
		c.start(survivor)
		c.ready()
		other := (survivor + 1) % 3
		c.start(other)
		c.removed(other)
		added := c.add(survivor, true, nil)
		c.ready()
		require.Equal(t, "v", get(t, c.nodes[added], "alone"))
	})
}
