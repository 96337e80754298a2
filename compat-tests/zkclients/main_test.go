package zkclients

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// patience is how long anything that is due may take.
const patience = 20 * time.Second

// tick is the shared server's tick: short, since tests wait for sessions to run
// out. longTick is for tests that must not lose one to a busy disk.
const (
	tick     = 500 * time.Millisecond
	longTick = 2 * time.Second
)

// changes is how many changes the ordering test makes; make test-all makes a million.
var changes = flag.Int("changes", 50_000, "changes of the ordering test")

// target is a server under test.
type target struct {
	zk   string // address for ZooKeeper clients, as host:port
	etcd string // URL for etcd clients; empty if the server is a real ZooKeeper

	kill    func() error                    // SIGKILL; the data stays
	restart func(ctx context.Context) error // after kill, on the same ports
	stop    func() error                    // for good
	tail    func() string                   // the end of its log
}

// shared is the server of all tests that need none of their own. Each test keeps
// to znodes of its own.
var shared *target

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	var err error
	if shared, err = start(tick); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if code = m.Run(); code != 0 {
		fmt.Fprintf(os.Stderr, "end of the server's log:\n%s\n", shared.tail())
	}
	return code
}

// start runs the server that TARGET names: triglot (the default) or zookeeper.
// Its sessions' timeouts are 2 to 20 ticks. With MEMBERS=3 it is a follower of three.
func start(tick time.Duration) (*target, error) {
	if several() {
		return startSeveral(tick)
	}
	switch name := os.Getenv("TARGET"); name {
	case "", "triglot":
		return startTriglot(tick)
	case "zookeeper":
		return startZooKeeper(tick)
	default:
		return nil, fmt.Errorf("TARGET=%s: want triglot or zookeeper", name)
	}
}

func several() bool { return os.Getenv("MEMBERS") == "3" }

func startSeveral(tick time.Duration) (*target, error) {
	kind, err := ensemble.KindFromEnv()
	if err != nil {
		return nil, err
	}
	o := ensemble.Options{Kind: kind, Tick: tick}
	if kind.Etcd() { // a session lives for two election timeouts at least, and the tests want two ticks
		ms := tick.Milliseconds()
		o.Args = []string{fmt.Sprintf("--election-timeout=%d", ms), fmt.Sprintf("--heartbeat-interval=%d", ms/10)}
	}
	c, err := ensemble.Start(context.Background(), o)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	leader := c.Leader(context.Background())
	m := c.Members[slices.IndexFunc(c.Members, func(m *ensemble.Member) bool { return m != leader })]
	s := &target{
		zk: m.ZKEndpoint(), kill: m.Kill, restart: m.Restart, stop: c.Close,
		tail: func() string { return server.Tail(m.Log(), 40) },
	}
	if kind.Etcd() {
		s.etcd = "http://" + m.EtcdEndpoint()
	}
	return s, nil
}

func startTriglot(tick time.Duration) (*target, error) {
	p, err := server.Start(context.Background(), server.Options{
		Target: server.Triglot,
		Args:   []string{"--zk-tick", tick.String()},
	})
	if err != nil {
		return nil, err
	}
	return &target{
		zk: p.ZKEndpoint(), etcd: p.URL(),
		kill: p.Kill, restart: p.Restart, stop: p.Stop, tail: p.LogTail,
	}, nil
}

func startZooKeeper(tick time.Duration) (*target, error) {
	p, err := zkserver.Start(context.Background(), zkserver.Options{TickTime: tick, NoSync: true})
	if err != nil {
		return nil, err
	}
	return &target{zk: p.Endpoint(), kill: p.Kill, restart: p.Restart, stop: p.Stop, tail: p.LogTail}, nil
}

// startFile starts the server that TARGET names from a zoo.cfg.
func startFile(t *testing.T, o zkserver.Options) *target {
	t.Helper()
	o.Triglot, o.TickTime, o.NoSync = os.Getenv("TARGET") != "zookeeper", tick, true
	p := zkserver.StartT(t, o)
	return &target{zk: p.Endpoint(), kill: p.Kill, restart: p.Restart, stop: p.Stop, tail: p.LogTail}
}

// startT is start for one test.
func startT(t *testing.T, tick time.Duration) *target {
	t.Helper()
	s, err := start(tick)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the server's log:\n%s", s.tail())
		}
		require.NoError(t, s.stop())
	})
	return s
}

// needEtcd leaves out a test that needs the other faces when the server is a real
// ZooKeeper.
func needEtcd(t *testing.T, s *target) {
	t.Helper()
	if s.etcd == "" {
		t.Skip("a real ZooKeeper has no etcd face")
	}
}
