package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// counted is the root of the znodes that count.
const counted = "/r"

// oneShot has a znode that a client of etcd's counts up, and a client of ZooKeeper's that
// reads it and watches for the next change, again and again. go-zookeeper sets its
// watches again at the next server (setWatches), which tells at once of a change that
// came meanwhile: so every event says that there is something new, and no change is
// without one.
type oneShot struct {
	path   string
	writer *clientv3.Client
	conn   *zk.Conn
	// acked are the counts that were acknowledged, told how many events came.
	acked []string
	told  int
}

// newOneShot makes the znode.
func newOneShot(path string, writer *clientv3.Client, conn *zk.Conn) (*oneShot, error) {
	if _, err := conn.Create(path, []byte("0"), 0, openACL); err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &oneShot{path: path, writer: writer, conn: conn}, nil
}

func (o *oneShot) run(ctx context.Context, rec *Recorder) {
	watched, unwatch := context.WithCancel(context.Background())
	defer unwatch()
	done := make(chan struct{})
	shown := make(chan int64, 1) // the latest version that the watcher has read
	go func() { defer close(done); o.watch(watched, rec, shown) }()
	for i := 1; ctx.Err() == nil; i++ {
		call, cancel := context.WithTimeout(context.Background(), callTimeout)
		value := fmt.Sprint(i)
		if _, err := o.writer.Put(call, mount+o.path, value); err == nil {
			o.acked = append(o.acked, value)
		}
		cancel()
		pauseFor(ctx, 2*thinkTime)
	}
	o.settle(rec, shown)
	unwatch()
	<-done
}

// settle waits until the watcher has read what is there in the end.
func (o *oneShot) settle(rec *Recorder, shown <-chan int64) {
	const due = 10 * time.Second
	call, cancel := context.WithTimeout(context.Background(), due)
	defer cancel()
	resp, err := o.writer.Get(call, mount+o.path)
	if err != nil || len(resp.Kvs) == 0 {
		rec.find("%s in the end: %v, %v", o.path, resp, err)
		return
	}
	last := int64(-1)
	for last < resp.Kvs[0].Version-1 {
		select {
		case last = <-shown:
		case <-call.Done():
			rec.find("%s has version %d, its watcher has read %d and is told of no change", o.path, resp.Kvs[0].Version-1, last)
			return
		}
	}
}

func (o *oneShot) watch(ctx context.Context, rec *Recorder, shown chan int64) {
	last := int64(-1)
	for ctx.Err() == nil {
		_, stat, changed, err := o.conn.GetW(o.path)
		if err != nil { // the connection was lost
			pauseFor(ctx, pollInterval)
			continue
		}
		version := int64(stat.Version)
		if version < last {
			rec.find("%s: version %d was read after %d", o.path, version, last)
		}
		last = version
		select {
		case <-shown:
		default:
		}
		shown <- last
		select {
		case <-ctx.Done():
			return
		case e := <-changed:
			if errors.Is(e.Err, zk.ErrSessionExpired) {
				rec.find("%s: the session of its watcher has expired", o.path)
			}
			o.told++
			o.mustBeNew(ctx, rec, last)
		}
	}
}

// mustBeNew reads what an event said is there: another version than before.
func (o *oneShot) mustBeNew(ctx context.Context, rec *Recorder, last int64) {
	for ctx.Err() == nil {
		_, stat, err := o.conn.Get(o.path)
		if err != nil {
			pauseFor(ctx, pollInterval)
			continue
		}
		if int64(stat.Version) <= last {
			rec.find("%s: an event says that it has changed, version %d was known", o.path, last)
		}
		return
	}
}

// judge wants every acknowledged count in the stream once.
func (o *oneShot) judge(stream []Event) (broken []string) {
	times := map[string]int{}
	for _, e := range stream {
		if e.Key == mount+o.path {
			times[e.Value]++
		}
	}
	for _, value := range o.acked {
		if times[value] != 1 {
			broken = append(broken, fmt.Sprintf("%s: the count %s was acknowledged, and is there %d times", o.path, value, times[value]))
		}
	}
	if o.told < 5 || len(o.acked) < 5 {
		broken = append(broken, fmt.Sprintf("%s: %d events for %d counts", o.path, o.told, len(o.acked)))
	}
	return broken
}
