package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// rollingSessions is the session timeout that a client of ZooKeeper's asks for here: the
// one of its documentation's examples.
const rollingSessions = 10 * time.Second

// openRolling connects what a rolling restart or upgrade is tested with: clients of both
// protocols that know all members, with their libraries' defaults, which write, watch,
// and have ephemerals.
func (c *chapter) openRolling(ctx context.Context) error {
	setup, err := c.zkClient(ctx)
	if err != nil {
		return err
	}
	for _, root := range []string{contested, owned, counted} {
		if _, err := setup.Create(root, nil, 0, openACL); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return fmt.Errorf("create %s: %w", root, err)
		}
	}
	for range 3 {
		client, err := c.etcdClient(c.cluster.EtcdEndpoints()...)
		if err != nil {
			return err
		}
		c.etcd = append(c.etcd, &etcdWorker{c.worker(), client}, &etcdWorker{c.worker(), client})
		conn, err := c.zkClient(ctx)
		if err != nil {
			return err
		}
		c.zk = append(c.zk, &zkWorker{worker: c.worker(), conn: conn})
	}
	resp, err := c.etcd[0].client.Get(ctx, mount)
	if err != nil {
		return err
	}
	c.from = resp.Header.Revision
	for i := range 3 {
		if err := c.openRollingWatches(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// openRollingWatches connects one of each kind of client that watches.
func (c *chapter) openRollingWatches(ctx context.Context, i int) error {
	all, zkAll := c.cluster.EtcdEndpoints(), c.cluster.ZKEndpoints()
	client, err := c.etcdClient(all...)
	if err != nil {
		return err
	}
	c.watchers = append(c.watchers, &watcher{name: fmt.Sprint(i), rec: c.rec, client: client, from: c.from + 1})
	conn, err := c.zkClient(ctx)
	if err != nil {
		return err
	}
	once, err := newOneShot(fmt.Sprintf("%s/%s-%d", counted, c.name, i), client, conn)
	if err != nil {
		return err
	}
	turned := slices.Concat(zkAll[i%len(zkAll):], zkAll[:i%len(zkAll)]) // each begins elsewhere
	c.spectators = append(c.spectators, once, &recursive{path: contested, endpoints: turned})
	living, err := newLiving(ctx, fmt.Sprintf("%s/live-%s-%d", owned, c.name, i), c.life, zkAll)
	if err != nil {
		return err
	}
	c.closes = append(c.closes, living.conn.Close)
	c.livings = append(c.livings, living)
	return nil
}

func (c *chapter) zkClient(ctx context.Context) (*zk.Conn, error) {
	conn, _, err := zkConnect(ctx, rollingSessions, c.cluster.ZKEndpoints()...)
	if err == nil {
		c.closes = append(c.closes, conn.Close)
	}
	return conn, err
}

// restarts restarts every member once, one after the other. end ends it: SIGTERM, or kill -9.
func restarts(members []*ensemble.Member, how string, end func(*ensemble.Member) error) (plan []fault) {
	for _, m := range members {
		plan = append(plan, fault{fmt.Sprintf("%s of %s, and its start", how, m.Name), func(context.Context, *faults) error {
			if err := end(m); err != nil {
				return err
			}
			return m.Launch()
		}})
	}
	return plan
}

// gaps are the longest times without a successful write: of all clients together, and of
// the client that had the worst of it.
func gaps(operations []Operation) (together, worst time.Duration) {
	var all []int64
	each := map[int][]int64{}
	for _, o := range operations {
		if o.Request.writes() && o.Answer.Outcome == Done {
			all = append(all, o.Ended)
			each[o.Client] = append(each[o.Client], o.Ended)
		}
	}
	longest := func(times []int64) (gap time.Duration) {
		slices.Sort(times)
		for i := 1; i < len(times); i++ {
			gap = max(gap, time.Duration(times[i]-times[i-1]))
		}
		return gap
	}
	for _, times := range each {
		worst = max(worst, longest(times))
	}
	return longest(all), worst
}
