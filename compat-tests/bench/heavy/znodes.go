package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/triglot/triglot/compat-tests/server"
)

// zkClient has some sessions.
type zkClient struct{ conns []*zk.Conn }

const (
	zkConns   = 10
	zkTimeout = 30 * time.Second
	// zkParents share the znodes.
	zkParents = 1000
	// zkFillers are how many multis are under way in each session.
	zkFillers = 3
)

type silent struct{}

func (silent) Printf(string, ...any) {}

func dialZK(ctx context.Context, p *server.Process) (client, error) {
	c := &zkClient{}
	for range zkConns {
		conn, events, err := zk.Connect([]string{p.ZKEndpoint()}, zkTimeout, zk.WithLogger(silent{}))
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.conns = append(c.conns, conn)
		for connected := false; !connected; {
			select {
			case e := <-events:
				connected = e.State == zk.StateHasSession
			case <-ctx.Done():
				return nil, errors.Join(context.Cause(ctx), c.close())
			}
		}
	}
	return c, nil
}

func (c *zkClient) close() error {
	for _, conn := range c.conns {
		conn.Close()
	}
	return nil
}

func zkParent(i int) string { return fmt.Sprintf("/heavy/%03d", i%zkParents) }
func zkPath(i int) string   { return fmt.Sprintf("%s/%010d", zkParent(i), i) }

var openToAll = zk.WorldACL(zk.PermAll)

func (c *zkClient) fill(ctx context.Context, keys int) error {
	parents := []any{&zk.CreateRequest{Path: "/heavy", Acl: openToAll}}
	for i := range min(keys, zkParents) {
		parents = append(parents, &zk.CreateRequest{Path: zkParent(i), Acl: openToAll})
	}
	if _, err := c.conns[0].Multi(parents...); err != nil {
		return err
	}
	workers := zkFillers * zkConns
	all := make([]*noise, workers)
	for i := range all {
		all[i] = newNoise(i)
	}
	return inBatches(ctx, workers, keys, batchPuts, func(worker, from, to int) error {
		var ops []any
		for i := from; i < to; i++ {
			value := all[worker].value(make([]byte, valueBytes))
			ops = append(ops, &zk.CreateRequest{Path: zkPath(scattered(i, keys)), Data: value, Acl: openToAll})
		}
		_, err := c.conns[worker%zkConns].Multi(ops...)
		return err
	})
}

// put sets a znode. The library takes no context; a call ends with its session.
func (c *zkClient) put(_ context.Context, key int, value []byte) error {
	_, err := c.conns[key%zkConns].Set(zkPath(key), value, -1)
	return err
}
