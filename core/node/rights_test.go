package node

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// What only root may do is refused to others before anything else is looked at
// (etcd T-83).
func TestRootOnly(t *testing.T) {
	cfg := testConfig(t)
	cfg.Auth = cheapAuth
	g := startGuarded(t, cfg)
	m := g.Membership()
	calls := map[string]func(context.Context, core.Principal) error{
		"defragment":  g.Defragment,
		"hash":        func(ctx context.Context, who core.Principal) error { _, _, err := g.Hash(ctx, who); return err },
		"hash of kv":  func(ctx context.Context, who core.Principal) error { _, err := g.HashKV(ctx, who, 0); return err },
		"snapshot":    func(ctx context.Context, who core.Principal) error { _, err := g.Snapshot(ctx, who); return err },
		"move leader": func(ctx context.Context, who core.Principal) error { return g.MoveLeader(ctx, who, 1) },
		"downgrade": func(ctx context.Context, who core.Principal) error {
			_, err := g.Downgrade(ctx, who, core.Downgrade{Version: "nonsense"})
			return err
		},
		"add": func(ctx context.Context, who core.Principal) error {
			_, _, err := m.Add(ctx, who, []string{"http://127.0.0.1:1"}, false)
			return err
		},
		"remove":  func(ctx context.Context, who core.Principal) error { _, err := m.Remove(ctx, who, 1); return err },
		"update":  func(ctx context.Context, who core.Principal) error { _, err := m.Update(ctx, who, 1, nil); return err },
		"promote": func(ctx context.Context, who core.Principal) error { _, err := m.Promote(ctx, who, 1); return err },
	}
	for name, call := range calls {
		for who, want := range map[core.Principal]error{
			{}:                               core.UserEmpty,
			{User: "alice", AuthRev: 9}:      core.PermissionDenied,
			{User: "stranger", AuthRev: 9}:   core.UserNotFound,
			{AuthRev: core.AnyAuthRev}:       core.UserEmpty,
			{User: core.RootRole + "\x00"}:   core.UserNotFound,
			{User: "cert", AuthRev: 1 << 62}: core.PermissionDenied,
		} {
			require.Equal(t, want, call(testContext(t), who), "%s by %+v", name, who)
		}
	}
	stopNode(t, g.Node)
}

func TestRightsToLeases(t *testing.T) {
	cfg := testConfig(t)
	cfg.Auth = cheapAuth
	g := startGuarded(t, cfg)
	root, alice := g.who(g.login("root", "root's own")), g.who(g.login("alice", "wonderland"))
	g.do(root,
		&core.LeaseGrant{ID: 1, TTL: time.Minute}, &core.LeaseGrant{ID: 2, TTL: time.Minute},
		&core.Put{Key: []byte("a"), Lease: 1}, &core.Put{Key: []byte("z"), Lease: 2},
	)
	check := func(who core.Principal, id core.LeaseID, keepAlive, status, withKeys, list error) {
		t.Helper()
		ctx, l := testContext(t), g.Leases()
		_, err := l.KeepAlive(ctx, who, id)
		require.Equal(t, keepAlive, err)
		_, err = l.Status(ctx, who, id, false)
		require.Equal(t, status, err)
		_, err = l.Status(ctx, who, id, true)
		require.Equal(t, withKeys, err)
		_, err = l.List(ctx, who)
		require.Equal(t, list, err)
	}
	const denied, nobody = core.PermissionDenied, core.UserEmpty
	check(root, 1, nil, nil, nil, nil)
	check(root, 2, nil, nil, nil, nil)
	check(alice, 1, nil, nil, nil, denied)
	check(alice, 2, denied, nil, denied, denied)
	check(alice, 3, core.LeaseNotFound, core.LeaseNotFound, core.LeaseNotFound, denied)
	check(core.Principal{}, 1, nobody, nobody, nobody, nobody)
	check(core.Principal{}, 3, nobody, nobody, nobody, nobody)
	check(core.Principal{User: "alice", AuthRev: 1}, 1, core.AuthOldRevision, nil, core.AuthOldRevision, core.AuthOldRevision)
	g.do(root, &core.LeaseRevoke{ID: 2})
	check(alice, 1, nil, nil, nil, nil)
	stopNode(t, g.Node)
}

// A token ends with its user before a view shows that: nobody is ever taken for a user
// as of a revision at which the token was good no more.
func TestTokensEndInTime(t *testing.T) {
	cfg := testConfig(t)
	cfg.Auth = cheapAuth
	g := startGuarded(t, cfg)
	root, hash := core.Principal{User: "root", AuthRev: 1}, g.hash("wonderland")
	for range 60 {
		token, rev := g.login("alice", "wonderland"), g.Auth().Status().Rev
		var using sync.WaitGroup
		for range 2 {
			using.Go(func() {
				for {
					who, err := g.resolve(token)
					if err != nil {
						return
					}
					if who.AuthRev > rev {
						t.Errorf("the token of revision %d is good at %d", rev, who.AuthRev)
						return
					}
				}
			})
		}
		g.do(root, &core.UserDelete{Name: "alice"}, &core.UserAdd{Name: "alice", Hash: hash})
		using.Wait()
	}
	stopNode(t, g.Node)
}

// Logins that wait for their turn hold what their callers sent: no more of it than the
// member has room for.
func TestWaitingLoginsAreBounded(t *testing.T) {
	cfg := testConfig(t)
	cfg.Auth = cheapAuth
	g := startGuarded(t, cfg)
	release := make(chan struct{})
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		g.auth.passwords.jobs <- func() { <-release }
	}
	ctx, cancel := context.WithCancel(testContext(t))
	var waiting sync.WaitGroup
	refused := make(chan error, 1)
	large := strings.Repeat("x", 1<<20)
	for range 2 * maxWaitingLogins / len(large) {
		waiting.Go(func() {
			if _, _, err := g.Auth().Login(ctx, "alice", large); core.KindOf(err) != core.Canceled {
				select {
				case refused <- err:
				default:
				}
			}
		})
	}
	select {
	case err := <-refused:
		require.Equal(t, core.TooManyRequests, err)
	case <-ctx.Done():
		t.Error("any number of logins may wait")
	}
	cancel()
	waiting.Wait()
	close(release)
	g.login("alice", "wonderland")
	stopNode(t, g.Node)
}
