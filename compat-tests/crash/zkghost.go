package crash

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

const (
	ghostRoot = zkRoot + "/ghosts"
	ghostSize = 4
	// mount is where the znodes are keys.
	mount = "/zk"
)

// ghost is a session whose client is gone when the server comes back.
type ghost struct {
	id      int
	session int64
	conn    *zk.Conn
}

// newGhost starts a session with ephemerals.
func newGhost(ctx context.Context, endpoint string, id int) (*ghost, error) {
	conn, err := zkConnect(ctx, endpoint, ghostTimeout)
	if err != nil {
		return nil, err
	}
	g := &ghost{id: id, session: conn.SessionID(), conn: conn}
	var requests []any
	for i := range ghostSize {
		requests = append(requests, &zk.CreateRequest{
			Path: fmt.Sprintf("%s/%d-%d", ghostRoot, id, i), Acl: openACL, Flags: zk.FlagEphemeral,
		})
	}
	if _, err := conn.Multi(requests...); err != nil {
		conn.Close()
		return nil, fmt.Errorf("ephemerals of a ghost: %w", err)
	}
	return g, nil
}

// haunting counts the ephemerals of each ghost, all as of one revision, and finds
// the sessions that are alive, as etcd's face tells them.
func haunting(ctx context.Context, conn *grpc.ClientConn) (ephemerals map[int]int, sessions map[int64]bool, err error) {
	below := mount + ghostRoot + "/"
	resp, err := etcdserverpb.NewKVClient(conn).Range(ctx, &etcdserverpb.RangeRequest{
		Key: []byte(below), RangeEnd: endOf(below), KeysOnly: true,
	})
	if err != nil {
		return nil, nil, err
	}
	ephemerals = map[int]int{}
	for _, kv := range resp.Kvs {
		var id, i int
		if _, err := fmt.Sscanf(strings.TrimPrefix(string(kv.Key), below), "%d-%d", &id, &i); err != nil {
			return nil, nil, fmt.Errorf("key %q: %w", kv.Key, err)
		}
		ephemerals[id]++
	}
	list, err := etcdserverpb.NewLeaseClient(conn).LeaseLeases(ctx, &etcdserverpb.LeaseLeasesRequest{})
	if err != nil {
		return nil, nil, err
	}
	sessions = map[int64]bool{}
	for _, lease := range list.Leases {
		sessions[lease.ID] = true
	}
	return ephemerals, sessions, nil
}

// checkGhosts requires of each ghost that all or none of its ephemerals are there.
func checkGhosts(ghosts []*ghost, ephemerals map[int]int) error {
	for _, g := range ghosts {
		if n := ephemerals[g.id]; n != 0 && n != ghostSize {
			return fmt.Errorf("%d of %d ephemerals of the ghost %d (session %x) are there", n, ghostSize, g.id, g.session)
		}
	}
	return nil
}

// exorcise waits until the sessions of all ghosts have run out.
func exorcise(ctx context.Context, conn *grpc.ClientConn, ghosts []*ghost) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		ephemerals, sessions, err := haunting(ctx, conn)
		if err != nil {
			return err
		}
		if err := checkGhosts(ghosts, ephemerals); err != nil {
			return err
		}
		var alive []string
		for _, g := range ghosts {
			if sessions[g.session] || ephemerals[g.id] > 0 {
				alive = append(alive, fmt.Sprintf("%d (session %x, %d ephemerals)", g.id, g.session, ephemerals[g.id]))
			}
		}
		if len(alive) == 0 {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("sessions that nobody has renewed are alive: %s", strings.Join(alive, ", "))
		}
	}
}
