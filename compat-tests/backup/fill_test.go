package backup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// filler writes a random history.
type filler struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of one test
	c      *clientv3.Client
	rand   *rand.Rand
	leases []clientv3.LeaseID
}

// fill writes a history of so many steps, chosen by seed: puts, deletes,
// transactions, leases and compactions, below the mount and beside it.
func fill(t *testing.T, c *clientv3.Client, seed uint64, steps int) {
	t.Helper()
	f := &filler{t: t, ctx: deadline(t), c: c, rand: rand.New(rand.NewPCG(seed, 0))}
	kept, err := c.Grant(f.ctx, 5000)
	require.NoError(t, err)
	for _, key := range []string{"kept", "/zk/kept"} { // no step has these
		_, err = c.Put(f.ctx, key, "", clientv3.WithLease(kept.ID))
		require.NoError(t, err)
	}
	for range steps {
		f.step()
	}
}

func (f *filler) key() string {
	names := []string{"a", "b", "c", "d/e", "d/f", "d/f/g", "d", "ü", "bad//path", "tail/"}
	prefixes := []string{"k/", "/zk/", "/zk/deep/er/", ""}
	return prefixes[f.rand.IntN(len(prefixes))] + names[f.rand.IntN(len(names))]
}

func (f *filler) value() string { return fmt.Sprint(f.rand.Uint64()) }

func (f *filler) lease() clientv3.LeaseID {
	if len(f.leases) == 0 || f.rand.IntN(2) == 0 {
		return 0
	}
	return f.leases[f.rand.IntN(len(f.leases))]
}

func (f *filler) step() {
	switch n := f.rand.IntN(100); {
	case n < 50:
		_, err := f.c.Put(f.ctx, f.key(), f.value(), clientv3.WithLease(f.lease()))
		require.NoError(f.t, err)
	case n < 65:
		_, err := f.c.Delete(f.ctx, f.key())
		require.NoError(f.t, err)
	case n < 72:
		_, err := f.c.Delete(f.ctx, f.key(), clientv3.WithPrefix())
		require.NoError(f.t, err)
	case n < 88:
		f.txn()
	case n < 94:
		res, err := f.c.Grant(f.ctx, 1000+f.rand.Int64N(1000))
		require.NoError(f.t, err)
		f.leases = append(f.leases, res.ID)
	case n < 97 && len(f.leases) > 0:
		at := f.rand.IntN(len(f.leases))
		_, err := f.c.Revoke(f.ctx, f.leases[at])
		require.NoError(f.t, err)
		f.leases = append(f.leases[:at], f.leases[at+1:]...)
	default:
		f.compact()
	}
}

func (f *filler) txn() {
	var ops []clientv3.Op
	used := map[string]bool{}
	for range 1 + f.rand.IntN(5) {
		key := f.key()
		if used[key] {
			continue
		}
		used[key] = true
		if f.rand.IntN(4) == 0 {
			ops = append(ops, clientv3.OpDelete(key))
		} else {
			ops = append(ops, clientv3.OpPut(key, f.value(), clientv3.WithLease(f.lease())))
		}
	}
	_, err := f.c.Txn(f.ctx).Then(ops...).Commit()
	require.NoError(f.t, err)
}

// compact gives up a part of the history, whatever has been before.
func (f *filler) compact() {
	now, err := f.c.Get(f.ctx, "x")
	require.NoError(f.t, err)
	rev := now.Header.Revision - f.rand.Int64N(20)
	_, _ = f.c.Compact(f.ctx, rev, clientv3.WithCompactPhysical()) // it may lie behind one that was
}

// fillAuth makes users and roles; the password of each is its name.
func fillAuth(t *testing.T, c *clientv3.Client) {
	t.Helper()
	ctx := deadline(t)
	for _, user := range []string{"root", "alice", "bob"} {
		_, err := c.UserAdd(ctx, user, user)
		require.NoError(t, err)
	}
	_, err := c.UserAddWithOptions(ctx, "cert", "", &clientv3.UserAddOptions{NoPassword: true})
	require.NoError(t, err)
	for _, role := range []string{"reader", "writer", "all"} {
		_, err := c.RoleAdd(ctx, role)
		require.NoError(t, err)
	}
	for _, p := range []struct {
		role, key, end string
		kind           clientv3.PermissionType
	}{
		{"reader", "k/", "k0", clientv3.PermissionType(clientv3.PermRead)},
		{"reader", "a", "", clientv3.PermissionType(clientv3.PermRead)},
		{"writer", "k/a", "", clientv3.PermissionType(clientv3.PermWrite)},
		{"all", "\x00", "\x00", clientv3.PermissionType(clientv3.PermReadWrite)},
	} {
		_, err := c.RoleGrantPermission(ctx, p.role, p.key, p.end, p.kind)
		require.NoError(t, err)
	}
	for user, roles := range map[string][]string{"root": {"root"}, "alice": {"writer", "reader"}, "cert": {"all"}} {
		for _, role := range roles {
			_, err := c.UserGrantRole(ctx, user, role)
			require.NoError(t, err)
		}
	}
}
