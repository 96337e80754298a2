package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// What observers are measured with: clients that write, puts in a second that are few for
// any machine, watchers of every key, readers, and the bytes of a value.
const (
	observedWriters  = 64
	observedRate     = 300
	observedWatchers = 200
	observedReaders  = 32
	observedValue    = 128
)

// observerCounts are the numbers of observers that are compared.
var observerCounts = []int{0, 3, 10}

// observers measures what observers cost the leader, and what they take off it: three
// voters, and one observer after the other joins. All processes share this machine, so
// throughput says what a machine does that runs them all; the leader's CPU for a put is
// what a cluster of one machine each would see.
func observers(ctx context.Context, c *config) (*table, error) {
	t := newTable(fmt.Sprintf("Observers of a cluster of three voters of Triglot, all on this machine (median of %d rounds, and the highest). "+
		"Writes: %d clients of the leader as fast as it goes, and %d puts/s of %d bytes. Watchers: %d of every key, and readers: %d, at the observers, at the leader if there are none.",
		c.rounds, observedWriters, observedRate, observedValue, observedWatchers, observedReaders))
	all := map[[2]string][]float64{}
	var rows []string
	for round := range c.rounds {
		if err := observersOnce(ctx, c, func(row, column string, figure float64) {
			log.Printf("round %d, %s: %s %.1f", round+1, column, row, figure)
			rows = appendNew(rows, row)
			all[[2]string{row, column}] = append(all[[2]string{row, column}], figure)
		}); err != nil {
			return t, err
		}
	}
	for _, row := range rows {
		for _, n := range observerCounts {
			figures := all[[2]string{row, observerColumn(n)}]
			if len(figures) == 0 {
				continue
			}
			slices.Sort(figures)
			t.set(row, observerColumn(n), fmt.Sprintf("%.1f (%.1f)", figures[len(figures)/2], figures[len(figures)-1]))
		}
	}
	return t, nil
}

func observerColumn(n int) string { return fmt.Sprintf("%d observers", n) }

// observersOnce has a cluster grow.
func observersOnce(ctx context.Context, c *config, set func(row, column string, figure float64)) (err error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	most := strconv.Itoa(slices.Max(observerCounts))
	cluster, err := c.start(ctx, face{kind: ensemble.Triglot}, 0, "--max-learners", most)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.end(cluster)) }()
	for _, n := range observerCounts {
		for len(cluster.Members) < cluster.Size+n {
			if err := joinObserver(ctx, cluster); err != nil {
				return fmt.Errorf("observer %d: %w", len(cluster.Members)-cluster.Size+1, err)
			}
		}
		if err := observed(ctx, c, cluster, func(row string, figure float64) { set(row, observerColumn(n), figure) }); err != nil {
			return fmt.Errorf("%d observers: %w", n, err)
		}
	}
	return nil
}

func joinObserver(ctx context.Context, cluster *ensemble.Cluster) error {
	client, err := observedClient(cluster.EtcdEndpoints()...)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // its error is that of its context
	if _, err := cluster.Join(func(_, url string) error {
		return retried(ctx, func() error { // members have to know each other for five seconds first
			_, err := client.MemberAddAsLearner(ctx, []string{url})
			return err
		})
	}, "--observer"); err != nil {
		return err
	}
	return cluster.AwaitAll(ctx)
}

func observedClient(endpoints ...string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
}

// observed measures the cluster as it is.
func observed(ctx context.Context, c *config, cluster *ensemble.Cluster, set func(row string, figure float64)) error {
	leader := cluster.Leader(ctx)
	if leader == nil {
		return errors.New("nobody leads")
	}
	client, err := observedClient(leader.EtcdEndpoint())
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // its error is that of its context
	serving := []string{leader.EtcdEndpoint()}
	if len(cluster.Members) > cluster.Size {
		serving = cluster.EtcdEndpoints()[cluster.Size:]
	}
	o := &observation{leader: leader, client: client, lasts: c.phase}
	if _, err := o.put(ctx, 0); err != nil { // warm
		return err
	}
	w, err := o.put(ctx, 0)
	if err != nil {
		return err
	}
	set("writes, closed loop: puts/s", w.rate)
	set("writes, closed loop: p99, ms", w.p99)
	set("writes, closed loop: CPU of the leader, µs a put", w.cpu)
	if w, err = o.put(ctx, observedRate); err != nil {
		return err
	}
	set("writes, few: p99, ms", w.p99)
	set("writes, few: CPU of the leader, µs a put", w.cpu)
	if err := o.fanOut(ctx, serving, set); err != nil {
		return err
	}
	return o.read(ctx, serving, set)
}

// observation measures at one leader.
type observation struct {
	leader *ensemble.Member
	client *clientv3.Client
	lasts  time.Duration
}

// written is what writes were like: a second's number, the 99th percentile of their time
// in milliseconds, and the leader's CPU time for each in microseconds.
type written struct{ rate, p99, cpu float64 }

// put writes for a while, a number in each second if rate is not 0.
func (o *observation) put(ctx context.Context, rate int) (written, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	cpu, err := cpuOf(o.leader.PID())
	if err != nil {
		return written{}, err
	}
	took := make([][]time.Duration, observedWriters)
	failures := make([]error, observedWriters)
	var wg sync.WaitGroup
	value := string(bytes.Repeat([]byte("v"), observedValue))
	began := time.Now()
	for i := range observedWriters {
		wg.Go(func() {
			due := began.Add(time.Duration(i) * time.Second / time.Duration(max(rate, observedWriters)))
			for n := 0; time.Since(began) < o.lasts; n++ {
				if rate > 0 {
					wait(ctx, time.Until(due))
				} else {
					due = time.Now()
				}
				if _, failures[i] = o.client.Put(ctx, fmt.Sprintf("/observed/%d-%d", i, n%100), value); failures[i] != nil {
					return
				}
				took[i] = append(took[i], time.Since(due))
				if rate > 0 {
					due = due.Add(time.Second * time.Duration(observedWriters) / time.Duration(rate))
				}
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(began)
	after, err := cpuOf(o.leader.PID())
	all := slices.Concat(took...)
	if err = errors.Join(append(failures, err)...); err != nil || len(all) == 0 {
		return written{}, errors.Join(err, ctx.Err())
	}
	slices.Sort(all)
	return written{
		rate: float64(len(all)) / elapsed.Seconds(),
		p99:  float64(all[len(all)*99/100].Microseconds()) / 1000,
		cpu:  float64((after - cpu).Microseconds()) / float64(len(all)),
	}, nil
}

// fanOut has watchers of all that is written, spread over the members that serve.
func (o *observation) fanOut(ctx context.Context, serving []string, set func(row string, figure float64)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var events atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop() // before the watchers are waited for
	for _, endpoint := range serving {
		client, err := observedClient(endpoint)
		if err != nil {
			return err
		}
		defer func() { _ = client.Close() }() // its error is that of its context
		for range observedWatchers / len(serving) {
			created := make(chan struct{})
			wg.Go(func() {
				ready := sync.OnceFunc(func() { close(created) })
				defer ready()
				for resp := range client.Watch(ctx, "/observed/", clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
					ready()
					events.Add(int64(len(resp.Events)))
				}
			})
			<-created
		}
	}
	began := time.Now()
	w, err := o.put(ctx, observedRate)
	if err != nil {
		return err
	}
	set("few writes, many watchers: p99, ms", w.p99)
	set("few writes, many watchers: CPU of the leader, µs a put", w.cpu)
	set("few writes, many watchers: events/s", float64(events.Load())/time.Since(began).Seconds())
	return nil
}

// read reads what need not be the latest, from the members that serve.
func (o *observation) read(ctx context.Context, serving []string, set func(row string, figure float64)) error {
	before, err := cpuOf(o.leader.PID())
	if err != nil {
		return err
	}
	var reads atomic.Int64
	failures := make([]error, observedReaders)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range observedReaders {
		client, err := observedClient(serving[i%len(serving)])
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer func() { _ = client.Close() }() // its error is that of its context
			for n := 0; time.Since(began) < o.lasts && ctx.Err() == nil; n++ {
				if _, failures[i] = client.Get(ctx, fmt.Sprintf("/observed/%d-%d", i, n%100), clientv3.WithSerializable()); failures[i] != nil {
					return
				}
				reads.Add(1)
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(began)
	after, err := cpuOf(o.leader.PID())
	if err = errors.Join(append(failures, err)...); err != nil {
		return err
	}
	set("serializable reads: reads/s", float64(reads.Load())/elapsed.Seconds())
	set("serializable reads: CPU of the leader, % of a core", 100*(after-before).Seconds()/elapsed.Seconds())
	return nil
}

// cpuOf is the CPU time that a process has used, in the kernel too (proc(5), stat).
func cpuOf(pid int) (time.Duration, error) {
	const utime, stime, perSecond = 11, 12, 100 // fields after the name in brackets; USER_HZ
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) <= stime {
		return 0, fmt.Errorf("process %d: %q", pid, text)
	}
	user, err1 := strconv.ParseInt(string(fields[utime]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[stime]), 10, 64)
	return time.Duration(user+system) * time.Second / perSecond, errors.Join(err1, err2)
}
