package zkoracle

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// target says which server a side runs.
type target string

const (
	zooKeeper target = "zookeeper" // the real one, the reference
	triglot   target = "triglot"   // this repository's
)

// targetFromEnv is the server under test: the one named by TARGET, Triglot if that
// is unset.
func targetFromEnv() (target, error) {
	switch t := target(os.Getenv("TARGET")); t {
	case "":
		return triglot, nil
	case zooKeeper, triglot:
		return t, nil
	default:
		return "", fmt.Errorf("TARGET=%s: want %s or %s", t, zooKeeper, triglot)
	}
}

// start runs an empty server. Sessions live from 2 to 20 ticks.
func start(ctx context.Context, t target, tick time.Duration) (*side, error) {
	if t == zooKeeper {
		p, err := zkserver.Start(ctx, zkserver.Options{
			TickTime: tick,
			NoSync:   true,
			Config:   []string{"maxClientCnxns=60"}, // ZooKeeper's default
			JVM:      []string{"-XX:TieredStopAtLevel=1"},
		})
		if err != nil {
			return nil, err
		}
		return newSide(p, p.Endpoint()), nil
	}
	p, err := server.Start(ctx, server.Options{Target: server.Triglot, Args: []string{"--zk-tick", tick.String()}})
	if err != nil {
		return nil, err
	}
	return newSide(p, p.ZKEndpoint()), nil
}
