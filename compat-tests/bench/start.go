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
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// target is a running server: one process, or three.
type target struct {
	role string
	null bool
	// addresses are where clients are served, by protocol, a list of host:port each.
	addresses map[string][]string
	pids      []int
	syncs     syncSource
	stop      func() error
}

func (t *target) endpoints(protocol string) string { return strings.Join(t.addresses[protocol], ",") }

func (t *target) pidList() string {
	list := make([]string, len(t.pids))
	for i, pid := range t.pids {
		list[i] = strconv.Itoa(pid)
	}
	return strings.Join(list, ",")
}

// starter starts the servers of cells.
type starter struct {
	// binaries by role; that of etcd is built from tools/go.mod.
	binaries map[string]string
	// args are further flags of Triglot.
	args []string
}

// roomFlags give etcd and Triglot room for a million keys and their history: etcd's largest
// recommended quota.
var roomFlags = []string{"--quota-backend-bytes", "8589934592"}

// loneURL is what a lone member advertises, and nobody dials. Its identity comes from it, so
// a copied data directory is served under the same.
const loneURL = "http://127.0.0.1:2380"

// heap is ZooKeeper's: enough for its million znodes, so that it does not collect garbage all
// the time; it comes with 1000 MB and says to size it by the data. The collector is the one
// that Java chooses for such a machine.
var heap = []string{"-Xmx4g", "-XX:-UseSerialGC", "-XX:+UseG1GC"}

// start starts the server that plays a role, with its data below dir, which may be there.
func (s starter) start(ctx context.Context, role, dir string, members int) (*target, error) {
	switch {
	case isNull(role):
		return startNull(role)
	case role == roleZooKeeper:
		return startZooKeepers(ctx, dir, members)
	case role == roleEtcd:
		return s.startMembers(ctx, role, server.Etcd, dir, members)
	default:
		return s.startMembers(ctx, role, server.Triglot, dir, members)
	}
}

// startMembers starts members of etcd or Triglot, each as its makers ship it.
func (s starter) startMembers(ctx context.Context, role string, kind server.Target, dir string, members int) (*target, error) {
	options := server.Options{Target: kind, Binary: s.binaries[role], Args: slices.Clone(roomFlags), AdvertisePeerURL: loneURL}
	if kind == server.Triglot {
		options.Args = append(options.Args, s.args...)
	}
	var peers, cluster []string
	if members > 1 {
		for i := range members {
			port, err := server.FreePort()
			if err != nil {
				return nil, err
			}
			peers = append(peers, fmt.Sprintf("http://127.0.0.1:%d", port))
			cluster = append(cluster, fmt.Sprintf("m%d=%s", i+1, peers[i]))
		}
	}
	processes, errs := make([]*server.Process, members), make([]error, members)
	var wg sync.WaitGroup
	for i := range members {
		o := options
		o.Dir = filepath.Join(dir, fmt.Sprintf("m%d", i+1))
		if members > 1 { // of a flag that is given twice the last counts
			o.Args = append(slices.Clone(o.Args), "--name", fmt.Sprintf("m%d", i+1), "--listen-peer-urls", peers[i],
				"--initial-advertise-peer-urls", peers[i], "--initial-cluster", strings.Join(cluster, ","))
		}
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return nil, err
		}
		wg.Go(func() { processes[i], errs[i] = server.Start(ctx, o) })
	}
	wg.Wait()
	t := &target{role: role, addresses: map[string][]string{}}
	var stops []func() error
	for _, p := range processes {
		if p == nil {
			continue
		}
		stops = append(stops, p.Stop)
		t.pids = append(t.pids, p.PID())
		t.addresses[etcdProtocol] = append(t.addresses[etcdProtocol], p.Endpoint())
		t.addresses[httpProtocol] = append(t.addresses[httpProtocol], p.Endpoint())
		if kind == server.Triglot {
			t.addresses[zkProtocol] = append(t.addresses[zkProtocol], p.ZKEndpoint())
		}
		if t.syncs == nil {
			t.syncs = metricSyncs(p.URL())
		}
	}
	t.stop = stopAll(stops)
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

// startZooKeepers starts ZooKeeper as it comes, but for the heap; every write is synced.
func startZooKeepers(ctx context.Context, dir string, members int) (*target, error) {
	options, err := zooKeeperOptions(dir, members)
	if err != nil {
		return nil, err
	}
	processes, errs := make([]*zkserver.Process, members), make([]error, members)
	var wg sync.WaitGroup
	for i, o := range options {
		wg.Go(func() { processes[i], errs[i] = zkserver.Start(ctx, o) })
	}
	wg.Wait()
	t := &target{role: roleZooKeeper, addresses: map[string][]string{}}
	var stops []func() error
	for _, p := range processes {
		if p == nil {
			continue
		}
		stops = append(stops, p.Stop)
		t.pids = append(t.pids, p.PID())
		t.addresses[zkProtocol] = append(t.addresses[zkProtocol], p.Endpoint())
		if t.syncs == nil {
			t.syncs = mntrSyncs(p.Ask)
		}
	}
	t.stop = stopAll(stops)
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

func zooKeeperOptions(dir string, members int) ([]zkserver.Options, error) {
	options := make([]zkserver.Options, members)
	config := []string{"initLimit=10", "syncLimit=5"}
	for i := range options {
		o := zkserver.Options{JVM: heap, Dir: filepath.Join(dir, fmt.Sprintf("m%d", i+1))}
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return nil, err
		}
		if members > 1 {
			place, err := zkserver.FindPlace(i + 1)
			if err != nil {
				return nil, err
			}
			o.ID, o.Port = place.ID, place.Client
			config = append(config, place.Line("participant"))
		}
		options[i] = o
	}
	if members > 1 {
		for i := range options {
			options[i].Config = config
		}
	}
	return options, nil
}

// stopAll stops members at the same time: one that is left alone waits for the others.
func stopAll(stops []func() error) func() error {
	return func() error {
		errs := make([]error, len(stops))
		var wg sync.WaitGroup
		for i, stop := range stops {
			wg.Go(func() { errs[i] = stop() })
		}
		wg.Wait()
		return errors.Join(errs...)
	}
}

// startNull runs this same program as a null server. It says where it listens on its standard
// output and ends when its standard input does, so it cannot be left behind.
func startNull(name string) (*target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, name)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	end := func() error { return errors.Join(stdin.Close(), cmd.Wait()) }
	line, err := bufio.NewReader(io.LimitReader(stdout, 100)).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("null server: %w", err), end())
	}
	endpoint := []string{strings.TrimSpace(line)}
	return &target{
		role: name, null: true, pids: []int{cmd.Process.Pid}, syncs: noSyncs, stop: end,
		addresses: map[string][]string{etcdProtocol: endpoint, zkProtocol: endpoint},
	}, nil
}
