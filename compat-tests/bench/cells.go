package main

import (
	"fmt"
	"regexp"
	"time"
)

const (
	fewKeys  = 10_000    // the row cache holds them
	manyKeys = 1_000_000 // it does not
	conns    = 10
)

// cells is the whole matrix, in the order of the page. The operations are what the faster one of
// Triglot and its peer does in about a second, so that the kernel's ticks of 10 ms tell, unless
// the other would take more than some ten seconds for them, or twenty for a few catch-ups: what is
// three ticks and a p99 of five calls tells nothing.
var cells = []cell{
	etcdCell("put", 1, 2_000, 2),
	etcdCell("put", 1000, 60_000, 3).beside(nullTuned),
	etcdCell("put", 1000, 60_000, 3).beside(nullTuned).many(),
	etcdCell("get", 1, 8_000, 2),
	etcdCell("get", 1000, 80_000, 3).beside(nullTuned),
	etcdCell("get", 1000, 80_000, 3).beside(nullTuned).many(),
	etcdCell("txn", 1, 2_000, 2),
	etcdCell("txn", 1000, 40_000, 3),
	etcdCell("range", 1, 2_500, 4.5).with("--limit", "500"),
	etcdCell("range", 1000, 6_000, 6).with("--limit", "500"),
	etcdCell("range-stream", 1, 20, 4).keys(100_000),
	etcdCell("count", 1, 150, 9).many(),
	watchCell("watch-fanout/10", "watch-fanout", 500, 3, "--watchers", "1000", "--streams", "10"),
	watchCell("watch-fanout/1000", "watch-fanout", 150, 3, "--watchers", "1000", "--streams", "1000"),
	watchCell("watch-keys", "watch-keys", 30_000, 3, "--watchers", "1000").clients(100),
	etcdCell("watch-catchup", 1, 20, 22).behind("ring", 10_000),
	etcdCell("watch-catchup", 1, 1, 20).many().behind("disk", 100_000).cold(),
	etcdCell("lease-keepalive", 1000, 120_000, 3).bare(),

	zkCell("set", 1, 3_000, 2),
	zkCell("set", 1000, 100_000, 3).beside(zkNullName),
	zkCell("set", 1000, 100_000, 3).beside(zkNullName).many(),
	zkCell("create", 1, 3_000, 2),
	zkCell("create", 1000, 80_000, 3).beside(zkNullName),
	zkCell("create", 1000, 80_000, 3).beside(zkNullName).many(),
	zkCell("get", 1, 12_500, 3),
	zkCell("get", 1000, 500_000, 7).beside(zkNullName),
	zkCell("get", 1000, 150_000, 3).beside(zkNullName).many(),
	zkCell("get-children", 1, 12_500, 3),
	zkCell("get-children", 1000, 500_000, 10).beside(zkNullName),
	zkCell("multi", 1, 2_000, 2),
	zkCell("multi", 1000, 40_000, 3).beside(zkNullName),
	zkCell("watch-storm", 1, 50, 3).with("--watchers", "1000").on(1001).bare(),
	zkCell("ephemeral-churn", 100, 20_000, 3).bare(),
	zkCell("session-storm", 100, 9_000, 4.5).bare(),

	httpCell("put", 1, 2_000, 2),
	httpCell("put", 100, 20_000, 3),
	httpCell("get", 1, 5_000, 2),
	httpCell("get", 100, 30_000, 3),

	etcdCell("put", 1, 1_500, 3).cluster(),
	etcdCell("put", 1000, 40_000, 4).cluster(),
	zkCell("set", 1, 2_000, 3).cluster(),
	zkCell("set", 1000, 60_000, 4).cluster(),
}

func newCell(protocol, load string, clients, ops int, seconds float64) cell {
	return cell{
		Name: fmt.Sprintf("%s/%s/%d", protocol, load, clients), Protocol: protocol, Load: load, Clients: clients,
		Conns: min(clients, conns), Keys: fewKeys, Ops: ops, Fill: protocol, Members: 1, seconds: seconds,
	}
}

func etcdCell(load string, clients, ops int, seconds float64) cell {
	return newCell(etcdProtocol, load, clients, ops, seconds)
}

// javaWarm is how long ZooKeeper is loaded before it is measured: measured after one run of
// three seconds, it took less and less CPU for an operation from the first pair to the last.
const javaWarm = time.Minute

func zkCell(load string, clients, ops int, seconds float64) cell {
	c := newCell(zkProtocol, load, clients, ops, seconds)
	c.Warm = javaWarm
	return c
}

// on has the client use so many connections.
func (c cell) on(conns int) cell {
	c.Conns = conns
	return c
}

// httpCell's keys are written through etcd's own protocol: they are the same. A connection of
// HTTP/1.1 has one request at a time, so there are as many as clients.
func httpCell(load string, clients, ops int, seconds float64) cell {
	c := newCell(httpProtocol, load, clients, ops, seconds)
	c.Fill, c.Conns = etcdProtocol, clients
	return c
}

// watchCell is a cell of watches, whose puts come from one client: each waits until the last
// one is delivered.
func watchCell(name, load string, ops int, seconds float64, flags ...string) cell {
	c := etcdCell(load, 1, ops, seconds).with(flags...).bare()
	c.Name, c.Conns, c.Keys = "etcd/"+name, conns, 1
	return c
}

func (c cell) clients(n int) cell {
	c.Clients = n
	return c
}

func (c cell) with(flags ...string) cell {
	c.Flags = flags
	return c
}

func (c cell) beside(null string) cell {
	c.Null = null
	return c
}

// bare is for loads that need no keys, or make their own.
func (c cell) bare() cell {
	c.Fill = ""
	return c
}

func (c cell) keys(n int) cell {
	c.Keys = n
	return c
}

// many is the cell in a store of a million keys, which was filled once.
func (c cell) many() cell {
	c.Name, c.Keys, c.Kept = c.Name+"/1M", manyKeys, true
	return c
}

func (c cell) behind(name string, revisions int) cell {
	c.Name, c.Behind = fmt.Sprintf("%s/%s/%s", c.Protocol, c.Load, name), revisions
	return c
}

func (c cell) cold() cell {
	c.Cold = true
	return c
}

func (c cell) cluster() cell {
	c.Name, c.Members = "three/"+c.Name, 3
	return c
}

// pick returns the cells whose names match, all if the expression is empty.
func pick(all []cell, expression string) ([]cell, error) {
	match, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	var picked []cell
	for _, c := range all {
		if match.MatchString(c.Name) {
			picked = append(picked, c)
		}
	}
	if len(picked) == 0 {
		return nil, fmt.Errorf("-only: no cell matches %q; -list shows them", expression)
	}
	return picked, nil
}
