package zkoracle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

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

// superConfig is the line of zoo.cfg that makes super:test the superuser.
const superConfig = "DigestAuthenticationProvider.superDigest=" + superDigest

// ofThree is a line of no meaning to servers: it asks for an ensemble.
const ofThree = "test.servers=3"

// start runs an empty server, with lines of zoo.cfg, and of -Dproperty=value. Sessions
// live from 2 to 20 ticks. Both servers are given the same.
func start(ctx context.Context, t target, tick time.Duration, config ...string) (*side, error) {
	lines := []string{"maxClientCnxns=60"} // ZooKeeper's default
	jvm := []string{"-XX:TieredStopAtLevel=1"}
	size := 1
	if t == triglot {
		size = *members
	}
	if slices.Contains(config, ofThree) {
		size = 3
	}
	for _, line := range config {
		switch {
		case strings.HasPrefix(line, "-D"):
			jvm = append(jvm, line)
		case strings.HasPrefix(line, "znode.container.") && t == zooKeeper: // these have no zookeeper. in front
			jvm = append(jvm, "-D"+line)
		default:
			lines = append(lines, line)
		}
	}
	o := zkserver.Options{Triglot: t == triglot, TickTime: tick, NoSync: true, Config: lines, JVM: jvm}
	if size > 1 {
		e, err := startEnsemble(ctx, o, size)
		if err != nil {
			return nil, err
		}
		s := newSide(e, e.follower())
		if err := s.settlePlaces(e); err != nil {
			return nil, errors.Join(err, e.Stop())
		}
		return s, nil
	}
	p, err := zkserver.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return newSide(p, p.Endpoint()), nil
}
