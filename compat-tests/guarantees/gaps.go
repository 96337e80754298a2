package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// away is how long a member is down. It is cut off as long as it is paused: ZooKeeper
// takes ten seconds to notice, and they are not to be ended by the fault's end.
const away = 10 * time.Second

// fault is done to a cluster; it returns once it is over.
type fault struct {
	name string
	do   func(ctx context.Context, c *config, cluster *ensemble.Cluster, leader *ensemble.Member) error
}

var faults = []fault{
	{"the leader is killed (-9)", func(ctx context.Context, _ *config, _ *ensemble.Cluster, leader *ensemble.Member) error {
		err := leader.Kill()
		wait(ctx, away)
		return errors.Join(err, leader.Launch())
	}},
	{"the leader is stopped (SIGTERM)", func(ctx context.Context, _ *config, _ *ensemble.Cluster, leader *ensemble.Member) error {
		_ = leader.Terminate() // etcd dies of the signal, and ZooKeeper says 143
		wait(ctx, away)
		return leader.Launch()
	}},
	{"a follower is killed (-9)", func(ctx context.Context, _ *config, cluster *ensemble.Cluster, leader *ensemble.Member) error {
		m := cluster.Members[(leader.Index+1)%len(cluster.Members)]
		err := m.Kill()
		wait(ctx, away)
		return errors.Join(err, m.Launch())
	}},
	{"the leader is paused (SIGSTOP)", func(ctx context.Context, c *config, _ *ensemble.Cluster, leader *ensemble.Member) error {
		err := leader.Pause()
		wait(ctx, c.pause)
		return errors.Join(err, leader.Resume())
	}},
	{"the leader is cut off", func(ctx context.Context, c *config, cluster *ensemble.Cluster, leader *ensemble.Member) error {
		cluster.Isolate(leader, true, true)
		wait(ctx, c.pause)
		cluster.Network.Heal(true)
		return nil
	}},
	{"the leader is not heard, and hears", func(ctx context.Context, c *config, cluster *ensemble.Cluster, leader *ensemble.Member) error {
		cluster.Isolate(leader, true, false)
		wait(ctx, c.pause)
		cluster.Network.Heal(true)
		return nil
	}},
	{"all are killed (-9) and started", func(_ context.Context, _ *config, cluster *ensemble.Cluster, _ *ensemble.Member) error {
		var errs []error
		for _, m := range cluster.Members {
			errs = append(errs, m.Kill())
		}
		for _, m := range cluster.Members {
			errs = append(errs, m.Launch())
		}
		return errors.Join(errs...)
	}},
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// gaps is the longest time without a successful write, for each fault.
func gaps(c *config) part {
	p := part{
		name: "gaps", perFace: true, heapMiB: shippedHeapMiB,
		title: fmt.Sprintf("Longest time without a successful write: of all %d clients together, and of the one that had the worst of it. "+
			"Members are down for %s, paused or cut off for %s. An etcd client gives a write up after %s, and together with the clients there is one more that "+
			"writes every %s without waiting for an answer; a ZooKeeper session lasts %s.",
			writers, away, c.pause, callTimeout, betweenProbes, sessionTimeout),
		fill: func(context.Context, *ensemble.Cluster, face) error { return nil },
	}
	for _, fault := range faults {
		if !strings.Contains(fault.name, c.faults) {
			continue
		}
		p.steps = append(p.steps, step{fault.name, func(ctx context.Context, cluster *ensemble.Cluster, f face) (figures, error) {
			together, worst, err := gapOf(ctx, c, f, cluster, fault)
			return figures{fault.name + ": together": together, fault.name + ": a client": worst}, err
		}})
	}
	return p
}

// shippedHeapMiB is what zkServer.sh gives a server.
const shippedHeapMiB = 1000

// recovery bounds what comes after a fault.
const recovery = 90 * time.Second

func gapOf(ctx context.Context, c *config, f face, cluster *ensemble.Cluster, fault fault) (together, worst time.Duration, err error) {
	l, err := startLoad(ctx, cluster, f)
	if err != nil {
		return 0, 0, err
	}
	defer l.end()
	if err := awaitServed(ctx, l, time.Now()); err != nil {
		return 0, 0, err
	}
	wait(ctx, time.Second)
	leader := cluster.Leader(ctx)
	if leader == nil {
		return 0, 0, errors.New("nobody leads")
	}
	began := time.Now()
	if err := fault.do(ctx, c, cluster, leader); err != nil {
		return 0, 0, err
	}
	over := time.Now()
	if err := cluster.AwaitAll(ctx); err != nil {
		return 0, 0, err
	}
	if err := awaitServed(ctx, l, over); err != nil {
		return 0, 0, err
	}
	wait(ctx, time.Second)
	together, worst = l.longest(began)
	return together, worst, ctx.Err()
}

func awaitServed(ctx context.Context, l *load, after time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	for !l.served(after) {
		if ctx.Err() != nil {
			return fmt.Errorf("a client is not served for %s", recovery)
		}
		wait(ctx, 10*time.Millisecond)
	}
	return nil
}

// longestGap is the longest time between two successes of which the later one is after
// since.
func longestGap(times []time.Time, since time.Time) time.Duration {
	slices.SortFunc(times, time.Time.Compare)
	longest := time.Duration(0)
	for i := 1; i < len(times); i++ {
		if times[i].After(since) {
			longest = max(longest, times[i].Sub(times[i-1]))
		}
	}
	return longest
}

// summary is the median and the longest.
func summary(all []time.Duration) string {
	slices.Sort(all)
	return fmt.Sprintf("%s (%s)", rounded(all[len(all)/2]), rounded(all[len(all)-1]))
}

func rounded(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
