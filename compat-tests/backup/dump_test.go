package backup

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
)

// dump is all that can be read of a store.
type dump struct {
	Revision, Compacted int64
	// Keys are those of each revision that can be read.
	Keys map[int64][]string
	// Events are those since the compaction, with what they superseded.
	Events []string
	Leases map[int64]string
	Users  map[string]string
	Roles  map[string]string
	Auth   string
	Alarms []string
}

func dumpOf(t *testing.T, c *clientv3.Client) dump {
	t.Helper()
	ctx := deadline(t)
	d := dump{Keys: map[int64][]string{}, Leases: map[int64]string{}, Users: map[string]string{}, Roles: map[string]string{}}
	now, err := c.Get(ctx, "x")
	require.NoError(t, err)
	d.Revision = now.Header.Revision
	for rev := d.Revision; rev > 0; rev-- {
		res, err := c.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(rev))
		if errors.Is(err, rpctypes.ErrCompacted) {
			d.Compacted = rev + 1
			break
		}
		require.NoError(t, err)
		for _, kv := range res.Kvs {
			d.Keys[rev] = append(d.Keys[rev], text(kv))
		}
	}
	d.Events = eventsOf(t, c, d.Compacted, d.Revision)
	d.readLeases(t, c)
	d.readAuth(t, c)
	return d
}

func text(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "-"
	}
	return fmt.Sprintf("%q=%q c%d m%d v%d l%x", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease)
}

// eventsOf are the events of all keys from one revision to another.
func eventsOf(t *testing.T, c *clientv3.Client, from, to int64) []string {
	t.Helper()
	ctx := deadline(t)
	// Its event tells that all before it have come.
	last, err := c.Put(ctx, "\x00the end", "")
	require.NoError(t, err)
	_, err = c.Delete(ctx, "\x00the end")
	require.NoError(t, err)
	var all []string
	for res := range c.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(max(from, 1)), clientv3.WithPrevKV()) {
		require.NoError(t, res.Err())
		for _, e := range res.Events {
			if e.Kv.ModRevision >= last.Header.Revision {
				return all
			}
			if e.Kv.ModRevision <= to {
				prev := e.PrevKv
				if e.Kv.ModRevision <= from {
					prev = nil // whether it is still there is nobody's promise
				}
				all = append(all, fmt.Sprintf("%s %s before %s", e.Type, text(e.Kv), text(prev)))
			}
		}
	}
	require.Fail(t, "the watch ended")
	return nil
}

func (d *dump) readLeases(t *testing.T, c *clientv3.Client) {
	ctx := deadline(t)
	leases, err := c.Leases(ctx)
	require.NoError(t, err)
	for _, l := range leases.Leases {
		ttl, err := c.TimeToLive(ctx, l.ID, clientv3.WithAttachedKeys())
		require.NoError(t, err)
		slices.SortFunc(ttl.Keys, slices.Compare)
		d.Leases[int64(l.ID)] = fmt.Sprintf("%ds %q", ttl.GrantedTTL, ttl.Keys)
	}
}

func (d *dump) readAuth(t *testing.T, c *clientv3.Client) {
	ctx := deadline(t)
	users, err := c.UserList(ctx)
	require.NoError(t, err)
	for _, name := range users.Users {
		u, err := c.UserGet(ctx, name)
		require.NoError(t, err)
		d.Users[name] = fmt.Sprint(u.Roles)
	}
	roles, err := c.RoleList(ctx)
	require.NoError(t, err)
	for _, name := range roles.Roles {
		r, err := c.RoleGet(ctx, name)
		require.NoError(t, err)
		for _, p := range r.Perm {
			d.Roles[name] += fmt.Sprintf("%s [%q, %q) ", p.PermType, p.Key, p.RangeEnd)
		}
	}
	status, err := c.AuthStatus(ctx)
	require.NoError(t, err)
	d.Auth = fmt.Sprintf("%v at %d", status.Enabled, status.AuthRevision)
	alarms, err := c.AlarmList(ctx)
	require.NoError(t, err)
	for _, a := range alarms.Alarms {
		d.Alarms = append(d.Alarms, fmt.Sprintf("%x %v", a.MemberID, a.Alarm))
	}
}

// requireSame compares what a server holds with what it should hold.
func requireSame(t *testing.T, want dump, p *server.Process, user string) {
	t.Helper()
	require.Empty(t, cmp.Diff(want, dumpOf(t, connect(t, p, user))))
}
