package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// loadBefore is how long a cluster writes before it is ended: there is to be something
// that is not where it belongs at a start.
const loadBefore = 5 * time.Second

// starts is how long a cluster takes to serve what it has.
func starts(c *config) part {
	const perZnode = 1000 // bytes of a ZooKeeper's heap: twice what stays, for it is to read, not to collect garbage
	p := part{
		name: "start", heapMiB: shippedHeapMiB + c.keys*perZnode>>20,
		title: fmt.Sprintf("A cluster with %d keys writes for %s, is stopped and started: time until every member serves.", c.keys, loadBefore),
		fill: func(ctx context.Context, cluster *ensemble.Cluster, f face) error {
			return fill(ctx, cluster, f, c.keys, smallKey)
		},
	}
	if c.filled != "" {
		p.kept = fmt.Sprint(c.keys)
	}
	p.omit = func(f face) string {
		if has := memoryMiB(); f.kind == ensemble.ZooKeeper && 3*p.heapMiB > has/2 {
			return fmt.Sprintf("three heaps of %d MiB are more than half of the machine's %d MiB", p.heapMiB, has)
		}
		return ""
	}
	for _, way := range []struct {
		name string
		end  func(*ensemble.Member) error
	}{{"after SIGTERM", (*ensemble.Member).Terminate}, {"after kill -9", (*ensemble.Member).Kill}} {
		p.steps = append(p.steps, step{way.name, func(ctx context.Context, cluster *ensemble.Cluster, f face) (figures, error) {
			took, err := startAfter(ctx, cluster, f, way.end)
			if err == nil {
				err = filled(ctx, cluster, f, c.keys, smallKey)
			}
			return figures{"all serve, " + way.name: took}, err
		}})
	}
	return p
}

// startAfter ends all members, and starts them again.
func startAfter(ctx context.Context, cluster *ensemble.Cluster, f face, end func(*ensemble.Member) error) (time.Duration, error) {
	l, err := startLoad(ctx, cluster, f)
	if err != nil {
		return 0, err
	}
	wait(ctx, loadBefore)
	l.end()
	for _, m := range cluster.Members {
		_ = end(m) // etcd dies of the signal, and ZooKeeper says 143
	}
	began := time.Now()
	for _, m := range cluster.Members {
		if err := m.Launch(); err != nil {
			return 0, err
		}
	}
	err = cluster.AwaitAll(ctx)
	return time.Since(began), err
}

// memoryMiB is the machine's memory, 0 if it cannot be told.
func memoryMiB() int {
	text, err := os.ReadFile("/proc/meminfo")
	kiB := 0
	if err == nil {
		_, err = fmt.Sscanf(string(text), "MemTotal: %d kB", &kiB)
	}
	if err != nil {
		return 0
	}
	return kiB >> 10
}
