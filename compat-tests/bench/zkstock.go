package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/go-zookeeper/zk"
)

// stockClient is go-zookeeper: what a program in Go is likely to use. It sends
// requests one by one, and so leaves the server less to batch than zkClient does.
type stockClient struct {
	*zkLoad
	conns []*zk.Conn
}

type noLog struct{}

func (noLog) Printf(string, ...any) {}

func newStockClient(_ context.Context, endpoint string, conns int, d *data) (_ client, err error) {
	c := &stockClient{zkLoad: newZKLoad(d)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for range conns {
		conn, _, err := zk.Connect([]string{endpoint}, zkTimeout, zk.WithLogger(noLog{}))
		if err != nil {
			return nil, err
		}
		c.conns = append(c.conns, conn)
	}
	for _, parent := range c.parents() {
		_, err := c.conns[0].Create(parent, nil, 0, zk.WorldACL(zk.PermAll))
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return nil, err
		}
	}
	return c, nil
}

func (c *stockClient) close() error {
	for _, conn := range c.conns {
		conn.Close()
	}
	return nil
}

func (c *stockClient) caller(op operation, i int, random *rand.Rand) (caller, error) {
	conn, acl := c.conns[i%len(c.conns)], zk.WorldACL(zk.PermAll)
	var call func() error
	switch op {
	case opFill:
		call = func() error {
			_, err := conn.Create(c.next(), c.values[0], 0, acl)
			return err
		}
	case opCreate:
		call = func() error {
			_, err := conn.Create(string(c.appendNew(nil, i)), c.anyValue(random), 0, acl)
			return err
		}
	case opSet:
		call = func() error {
			_, err := conn.Set(c.anyPath(random), c.anyValue(random), -1)
			return err
		}
	case opGet:
		call = func() error {
			_, _, err := conn.Get(c.anyPath(random))
			return err
		}
	default:
		return nil, fmt.Errorf("ZooKeeper has no operation %q", op)
	}
	return func(context.Context) error { return call() }, nil
}
