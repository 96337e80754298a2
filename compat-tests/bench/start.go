package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// startAll starts the servers that the configuration names, in order. stop ends
// those that were started, and must be called in any case. A name that occurs
// twice gives two servers of the kind, told apart by a number: etcd against
// etcd shows what the method itself is worth. A name may say which binary to
// run, as "triglot=PATH": so two builds are compared.
func startAll(ctx context.Context, c *config) (servers []*target, stop func() error, err error) {
	var stops []func() error
	stop = func() error {
		var errs []error
		for _, s := range stops {
			errs = append(errs, s())
		}
		return errors.Join(errs...)
	}
	load := newData(c.keys, c.bytes)
	seen := map[string]int{}
	for _, name := range c.servers {
		kind, binary, named := strings.Cut(name, "=")
		if !named {
			binary = c.binaries[kind]
		}
		t, end, err := c.face.start(ctx, kind, binary, c.dir)
		if err != nil {
			return nil, stop, err
		}
		stops = append(stops, end)
		t.name = kind
		if named {
			t.name = filepath.Base(binary)
		}
		if seen[t.name]++; seen[t.name] > 1 {
			t.name += "#" + strconv.Itoa(seen[t.name])
		}
		client, err := c.face.dial(ctx, t.endpoint, c.conns, load)
		if err != nil {
			return nil, stop, fmt.Errorf("%s: %w", t.name, err)
		}
		t.loader = &loader{data: load, client: client}
		stops = append(stops, client.close)
		servers = append(servers, t)
	}
	return servers, stop, nil
}

// startEtcd starts an etcd, a Triglot or a null server for etcd's clients, from a
// binary or, if that is empty, from what is built here, with its data in a new
// directory below parent.
func startEtcd(ctx context.Context, kind, binary, parent string) (*target, func() error, error) {
	switch {
	case nullOptions[kind] != nil:
		return startNull(kind)
	case kind == string(server.Etcd), kind == string(server.Triglot):
		p, end, err := startProcess(ctx, kind, binary, parent)
		if err != nil {
			return nil, nil, err
		}
		return &target{pid: p.PID(), endpoint: p.Endpoint(), syncs: metricSyncs(p.URL())}, end, nil
	}
	return nil, nil, fmt.Errorf("unknown server %q", kind)
}

// startZK does the same for ZooKeeper's clients.
func startZK(ctx context.Context, kind, binary, parent string) (*target, func() error, error) {
	switch kind {
	case nullName:
		return startNull(zkNullName)
	case string(server.Triglot):
		p, end, err := startProcess(ctx, kind, binary, parent)
		if err != nil {
			return nil, nil, err
		}
		return &target{pid: p.PID(), endpoint: p.ZKEndpoint(), syncs: metricSyncs(p.URL())}, end, nil
	case "zookeeper":
		return startZooKeeper(ctx, parent)
	}
	return nil, nil, fmt.Errorf("unknown server %q", kind)
}

func startProcess(ctx context.Context, kind, binary, parent string) (*server.Process, func() error, error) {
	dir, err := os.MkdirTemp(parent, "bench-"+kind+"-")
	if err != nil {
		return nil, nil, err
	}
	if binary != "" {
		if binary, err = filepath.Abs(binary); err != nil {
			return nil, nil, err
		}
	}
	p, err := server.Start(ctx, server.Options{Target: server.Target(kind), Binary: binary, Dir: dir})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return p, func() error { return errors.Join(p.Stop(), os.RemoveAll(dir)) }, nil
}

// startZooKeeper starts a ZooKeeper as it comes: the heap of its zkEnv.sh, the
// collector that Java itself chooses for the machine, every write synced.
func startZooKeeper(ctx context.Context, parent string) (*target, func() error, error) {
	dir, err := os.MkdirTemp(parent, "bench-zookeeper-")
	if err != nil {
		return nil, nil, err
	}
	p, err := zkserver.Start(ctx, zkserver.Options{Dir: dir, JVM: []string{"-Xmx1000m", "-XX:-UseSerialGC"}})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	end := func() error { return errors.Join(p.Stop(), os.RemoveAll(dir)) }
	return &target{pid: p.PID(), endpoint: p.Endpoint(), syncs: mntrSyncs(p.Ask)}, end, nil
}

// startNull runs this same program as a null server. It says where it listens
// on its standard output and ends when its standard input does, so it cannot be
// left behind.
func startNull(name string) (*target, func() error, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self, name)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	end := func() error { return errors.Join(stdin.Close(), cmd.Wait()) }
	endpoint, err := bufio.NewReader(io.LimitReader(stdout, 100)).ReadString('\n')
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("null server: %w", err), end())
	}
	return &target{pid: cmd.Process.Pid, endpoint: strings.TrimSpace(endpoint), syncs: noSyncs}, end, nil
}
