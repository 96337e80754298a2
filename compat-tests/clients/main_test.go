package clients

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/server"
)

// patience is how long anything that is due may take.
const patience = 20 * time.Second

// shared is the server of all tests that need no server of their own. Each test
// keeps to keys of its own, below its name.
var shared *server.Process

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	target, err := server.TargetFromEnv()
	if err == nil {
		shared, err = server.Start(context.Background(), server.Options{Target: target})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := shared.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}

// newClient returns a client of the server, closed when the test ends.
func newClient(t *testing.T, p *server.Process) *clientv3.Client {
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
