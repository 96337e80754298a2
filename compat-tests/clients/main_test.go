package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
)

// patience is how long anything that is due may take.
const patience = 20 * time.Second

// host is a server that clients are pointed at.
type host interface {
	Endpoint() string // host:port
	URL() string
}

// shared is the server of all tests that need no server of their own, with MEMBERS=3 a
// follower of three. Each test keeps to keys of its own, below its name.
var shared host

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	target, err := server.TargetFromEnv()
	stop := func() error { return nil }
	switch {
	case err != nil:
	case several():
		stop, err = startSeveral(ensemble.Kind(target))
	default:
		var p *server.Process
		p, err = server.Start(context.Background(), server.Options{Target: target})
		shared, stop = p, p.Stop
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}

func several() bool { return os.Getenv("MEMBERS") == "3" }

// follower is a member of several.
type follower struct{ *ensemble.Member }

func (f follower) Endpoint() string { return f.EtcdEndpoint() }

func (f follower) URL() string { return "http://" + f.EtcdEndpoint() }

// startSeveral has three members to share.
func startSeveral(kind ensemble.Kind) (stop func() error, err error) {
	c, err := ensemble.Start(context.Background(), ensemble.Options{Kind: kind})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	leader := c.Leader(context.Background())
	at := slices.IndexFunc(c.Members, func(m *ensemble.Member) bool { return m != leader })
	shared = follower{c.Members[at]}
	return c.Close, nil
}

// newClient returns a client of the server, closed when the test ends.
func newClient(t *testing.T, p host) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{p.Endpoint()},
		DialTimeout: patience,
		Logger:      zap.NewNop(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// deadline is a context that ends a test in which nothing happens any more.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// prefix is the part of the key space that belongs to the test.
func prefix(t *testing.T) string { return t.Name() + "/" }
