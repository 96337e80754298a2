package cluster

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// judgeZK looks at what the ZooKeeper clients' promises are about: ephemerals of those that
// live, and pipelines.
func (c *chapter) judgeZK(ctx context.Context) (broken []string) {
	conn, _, err := zkConnect(ctx, liveTimeout, c.cluster.ZKEndpoints()...)
	if err != nil {
		return []string{err.Error()}
	}
	defer conn.Close()
	if _, err := conn.Sync("/"); err != nil {
		return []string{err.Error()}
	}
	for _, l := range c.livings {
		there, stat, err := conn.Exists(l.path)
		if err != nil || !there || stat.EphemeralOwner != l.session {
			broken = append(broken, fmt.Sprintf("the ephemeral %s of a client that lives: there is %v, %v, %v", l.path, there, stat, err))
		}
	}
	for _, p := range c.pipes {
		for _, pipe := range p.pipes {
			children, _, err := conn.Children(pipe.parent)
			if err != nil {
				broken = append(broken, fmt.Sprintf("%s: %v", pipe.parent, err))
			} else if text := pipe.check(children); text != "" {
				broken = append(broken, text)
			}
		}
	}
	return broken
}

// judgeMembers compares the members' states with each other: the hashes of etcd's, and the
// trees of ZooKeeper's with all that is in their stats.
func (c *chapter) judgeMembers(ctx context.Context) (broken []string) {
	if c.cluster.Kind.Etcd() {
		broken = append(broken, c.hashes(ctx)...)
	}
	if c.cluster.Kind == ensemble.Triglot { // etcd's is of its database with what is each member's own
		broken = append(broken, c.wholeHashes(ctx)...)
	}
	if !c.cluster.Kind.ZooKeeper() {
		return broken
	}
	var first []string
	for i, endpoint := range c.cluster.ZKEndpoints() {
		tree, err := treeOf(ctx, endpoint)
		if err != nil {
			broken = append(broken, fmt.Sprintf("the tree of member %d: %v", i, err))
			continue
		}
		if first == nil {
			first = tree
			continue
		}
		for j := range max(len(tree), len(first)) {
			if j >= len(tree) || j >= len(first) || tree[j] != first[j] {
				broken = append(broken, fmt.Sprintf("the tree of member %d has %v where member 0's has %v", i, at(tree, j), at(first, j)))
				break
			}
		}
	}
	return broken
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}

// hashes compares HashKV of all members at one revision.
func (c *chapter) hashes(ctx context.Context) (broken []string) {
	client, err := dialEtcd(c.cluster.EtcdEndpoints()...)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = client.Close() }() // its error is that of its context
	resp, err := client.Get(ctx, mount)
	if err != nil {
		return []string{err.Error()}
	}
	var first uint32
	for i, endpoint := range c.cluster.EtcdEndpoints() {
		hash, err := client.HashKV(ctx, endpoint, resp.Header.Revision)
		for until := time.Now().Add(10 * time.Second); err != nil && strings.Contains(err.Error(), "future revision") && time.Now().Before(until); {
			pauseFor(ctx, pollInterval) // a follower has not applied it yet
			hash, err = client.HashKV(ctx, endpoint, resp.Header.Revision)
		}
		switch {
		case err != nil:
			broken = append(broken, fmt.Sprintf("HashKV of member %d: %v", i, err))
		case i == 0:
			first = hash.Hash
		case hash.Hash != first:
			broken = append(broken, fmt.Sprintf("HashKV of member %d at revision %d is %d, member 0's is %d", i, resp.Header.Revision, hash.Hash, first))
		}
	}
	return broken
}

// wholeHashes compares Maintenance.Hash of all members: of all that they share, sessions,
// leases, users and alarms included. It is of the moment, so it is asked for until all
// members have applied the same.
func (c *chapter) wholeHashes(ctx context.Context) []string {
	const due = 20 * time.Second
	var servers []pb.MaintenanceClient
	for _, endpoint := range c.cluster.EtcdEndpoints() {
		client, err := dialEtcd(endpoint)
		if err != nil {
			return []string{err.Error()}
		}
		defer func() { _ = client.Close() }() // its error is that of its context
		servers = append(servers, pb.NewMaintenanceClient(client.ActiveConnection()))
	}
	sums := make([]string, len(servers))
	for until := time.Now().Add(due); time.Now().Before(until) && ctx.Err() == nil; pauseFor(ctx, pollInterval) {
		for i, server := range servers {
			call, cancel := context.WithTimeout(ctx, callTimeout)
			resp, err := server.Hash(call, &pb.HashRequest{})
			cancel()
			if sums[i] = fmt.Sprintf("%08x", resp.GetHash()); err != nil {
				sums[i] = fmt.Sprintf("member %d: %v", i, err)
			}
		}
		if len(slices.Compact(slices.Clone(sums))) == 1 {
			return nil
		}
	}
	return []string{fmt.Sprintf("the members' Hash is not equal %s later: %v", due, sums)}
}

// treeOf lists the znodes of a server, each with its data and stat, once it has caught up.
// Ephemerals are left out: they come and go with sessions.
func treeOf(ctx context.Context, endpoint string) ([]string, error) {
	conn, _, err := zkConnect(ctx, liveTimeout, endpoint)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Sync("/"); err != nil {
		return nil, err
	}
	var lines []string
	var walk func(at string) error
	walk = func(at string) error {
		data, stat, err := conn.Get(at)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if stat.EphemeralOwner != 0 {
			return nil
		}
		shown := *stat
		if at == "/" || at == owned || strings.HasPrefix(at, "/zookeeper") {
			shown = zk.Stat{} // sessions begin and end while it is read
		}
		lines = append(lines, fmt.Sprintf("%s %q %+v", at, data, shown))
		if stat.NumChildren == 0 {
			return nil
		}
		children, _, err := conn.Children(at)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		slices.Sort(children)
		for _, child := range children {
			if at == owned {
				continue // all of it is ephemeral
			}
			if err := walk(path.Join(at, child)); err != nil {
				return err
			}
		}
		return nil
	}
	err = walk("/")
	return lines, err
}
