package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// The protocols, as the tool calls them.
const (
	etcdProtocol = "etcd"
	zkProtocol   = "zookeeper"
	httpProtocol = "http" // etcd's JSON gateway
)

// The servers of a cell, by the part they play.
const (
	roleTriglot   = "triglot"
	roleEtcd      = "etcd"
	roleZooKeeper = "zookeeper"
	// roleAgainst is another build of Triglot in the peer's place.
	roleAgainst = "triglot-2"
)

// cell is one point of the measurement: a load, and what it is put on. All that JSON shows
// is part of the key of its results.
type cell struct {
	// Name is PROTOCOL/LOAD/DETAIL; it is what notes.md and -only call the cell.
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Load     string `json:"load"`
	Clients  int    `json:"clients"`
	Conns    int    `json:"connections"`
	Keys     int    `json:"keys"`
	// Ops is how many operations a run makes: the same work for each server.
	Ops int `json:"ops"`
	// Behind is how many revisions a watch catches up on, 0 if the load is another.
	Behind int `json:"behind,omitempty"`
	// Flags are further flags of the tool.
	Flags []string `json:"flags,omitempty"`
	// Fill is the protocol through which the keys are written before, "" if there are none.
	// Kept says that it was done once for all, into a directory that is copied.
	Fill string `json:"fill,omitempty"`
	Kept bool   `json:"kept,omitempty"`
	// Members is the size of each server: 1 or 3.
	Members int `json:"members"`
	// Null is the null server that is measured beside, "" if none.
	Null string `json:"null,omitempty"`
	// Warm is how long ZooKeeper is loaded at the beginning, before all servers have run the
	// load once.
	Warm time.Duration `json:"warm_ns,omitempty"`
	// Cold leaves out the short warm-up before each run; the one at the beginning stays.
	Cold bool `json:"cold,omitempty"`

	// seconds is about how long a run takes the slower server on two quiet cores; it serves
	// the forecast alone.
	seconds float64
}

// valueBytes is the size of every value: that of the bars.
const valueBytes = 256

// peer is the stock server that speaks the cell's protocol.
func (c cell) peer() string {
	if c.Protocol == zkProtocol {
		return roleZooKeeper
	}
	return roleEtcd
}

// warmPart is the part of a run's operations that the warm-up before it makes: a fifth.
const warmPart = 5

func (c cell) warmOps() int { return max(1, c.Ops/warmPart) }

// warmLoad is the load that warms ZooKeeper up: the cell's, but where that would leave it
// with millions of znodes, which no other server of the cell has, one that goes the same way.
func (c cell) warmLoad() string {
	if c.Load == "create" {
		return "set"
	}
	return c.Load
}

// writes says that each operation of the load must be in a synced log before it is answered.
func (c cell) writes() bool {
	return slices.Contains([]string{"put", "txn", "set", "create", "multi", "watch-fanout", "watch-keys", "ephemeral-churn"}, c.Load)
}

// phase is what a run of the tool is for.
type phase struct {
	ops int
	// lasting is how long it runs, instead of so many operations, if it is not 0.
	lasting time.Duration
	seed    int
	// grace is how long the tool waits at most until the server is quiet.
	grace time.Duration
}

// args are the tool's arguments for a run on a server.
func (c cell) args(t *target, p phase) []string {
	much := []string{"--ops", strconv.Itoa(p.ops)}
	if p.lasting > 0 {
		much = []string{"--duration", p.lasting.String()}
	}
	args := append(append(c.common(c.Load, c.Protocol, t), much...), "--seed", strconv.Itoa(p.seed), "--grace", p.grace.String())
	if c.Behind > 0 {
		args = append(args, "--behind", strconv.Itoa(c.Behind))
	}
	return append(args, c.Flags...)
}

// fillArgs are the tool's arguments that write every key once.
func (c cell) fillArgs(t *target) []string {
	load := "put"
	if c.Fill == zkProtocol {
		load = "create"
	}
	c.Conns = conns // whatever the cell has then: one connection fills slowly
	return append(c.common(load, c.Fill, t), "--fill", "--grace", graceLimit.String())
}

// nullKeys is the most keys that a null server is asked for: its map is no store, and what a
// larger one costs says nothing of the transport.
const nullKeys = 10_000

func (c cell) common(load, protocol string, t *target) []string {
	keys := c.Keys
	if t.null {
		keys = min(keys, nullKeys)
	}
	return []string{
		load, "--protocol", protocol, "--endpoints", t.endpoints(protocol), "--pids", t.pidList(),
		"--clients", strconv.Itoa(c.Clients), "--connections", strconv.Itoa(c.Conns), "--keys", strconv.Itoa(keys),
		"--value-bytes", strconv.Itoa(valueBytes), "--quiet", "--json", "-",
	}
}

// scaled is the cell with less to do, to see quickly that it runs at all.
func (c cell) scaled(by float64) cell {
	if by == 1 {
		return c
	}
	part := func(n, least int) int { return min(n, max(least, int(float64(n)*by))) }
	c.Ops, c.Keys, c.Behind = part(c.Ops, 20), part(c.Keys, 2000), part(c.Behind, 500)
	c.Flags = slices.Clone(c.Flags)
	c.Warm = max(min(c.Warm, time.Second), time.Duration(float64(c.Warm)*by))
	c.seconds = max(0.1, c.seconds*by)
	return c
}

// forecast is about how long the cell takes with these servers.
func (c cell) forecast(pairs int, servers []string) time.Duration {
	const (
		start = 4.0  // of the servers, and the keys
		copyS = 20.0 // of a directory with a million keys, and reading it
		rest  = 2.0  // of a run: the tool's start, and the waits until the server is quiet
	)
	roles := len(servers)
	seconds := start + float64(roles)*c.seconds
	if slices.Contains(servers, roleZooKeeper) {
		seconds += c.Warm.Seconds()
	}
	if c.Kept {
		seconds += copyS
	}
	warm := 1.2
	if c.Cold {
		warm = 1
	}
	seconds += float64(pairs*roles) * (warm*c.seconds + rest)
	return time.Duration(seconds * float64(time.Second)).Round(time.Second)
}

func (c cell) String() string { return c.Name }

// describe is the cell in the words of the page.
func (c cell) describe() string {
	text := c.Load
	switch {
	case c.Clients == 1:
		text += ", 1 client"
	default:
		text += fmt.Sprintf(", %d clients", c.Clients)
	}
	switch {
	case c.Keys == manyKeys:
		text += ", 1M keys"
	case c.Keys > fewKeys:
		text += fmt.Sprintf(", %d keys", c.Keys)
	}
	if c.Behind > 0 {
		text += fmt.Sprintf(", %d revisions behind", c.Behind)
	}
	for i := 0; i+1 < len(c.Flags); i += 2 {
		text += fmt.Sprintf(", %s %s", c.Flags[i+1], c.Flags[i][len("--"):])
	}
	return text
}
